"""How much the link to one receiver holds, and how to fill it evenly: no I/O, no asyncio, no clock."""
