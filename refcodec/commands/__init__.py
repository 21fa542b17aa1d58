"""The commands of `refcodec`, one module each. Modules import what they run on when they run."""
