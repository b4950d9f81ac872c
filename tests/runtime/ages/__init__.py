"""A service, a saga and a read model in two ages: as they were written at first, and as they are today.

Since then SeatTaken is called SeatHeld, its seat became a text, and the row was split off it; a swap of two seats is no
event of its own any more, notes are gone, a release has got a reason; commands and the saga's result were renamed.
"""
