"""The alphabet of byte-level tokenizers (GPT-2's): a letter for every byte.

A printable byte is its own character; the others are 256, 257, ... in order.
"""

_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]

# letter -> byte
BYTES = {chr(byte): byte for byte in _PRINTED}
BYTES |= {chr(256 + position): byte for position, byte in enumerate(_OTHERS)}
