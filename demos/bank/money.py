"""Money: whole cents, never fractions, and how they are written."""


def euros(cents: int) -> str:
    """Write an amount: ``1,234.50``."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"
