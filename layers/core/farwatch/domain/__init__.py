"""Pure rules of the trade: no I/O, no clock (time is an argument), no AWS."""
