"""Small whole applications that show how Understudy is used."""
