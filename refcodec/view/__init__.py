"""The viewer: a local server, the page that it serves, and the decoder in JavaScript that the page runs.

`web/decoder` is a decoder of its own, written from the specification; it takes nothing from the
Python code but the register of requirements (`register.js`).
"""
