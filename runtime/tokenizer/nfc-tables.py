#!/usr/bin/env python3
"""Writes the tables of Nfc.cpp from Python's Unicode database: nfc-tables.py OUT."""
import sys
import unicodedata

classes, decompositions, pool, pairs = [], [], [], []
for c in range(0x110000):
    if 0xD800 <= c < 0xE000 or 0xAC00 <= c < 0xD7A4:  # Hangul syllables are arithmetic
        continue
    char = chr(c)
    if unicodedata.combining(char):
        classes.append((c, unicodedata.combining(char)))
    full = unicodedata.normalize("NFD", char)
    if full != char:
        decompositions.append((c, len(pool), len(full)))
        pool.extend(map(ord, full))
    field = unicodedata.decomposition(char).split()
    # A canonical pair composes unless it is excluded; excluded characters are not their own NFC.
    if len(field) == 2 and field[0][0] != "<" and unicodedata.normalize("NFC", char) == char:
        pairs.append((int(field[0], 16), int(field[1], 16), c))

with open(sys.argv[1], "w") as out:
    out.write(f"// Unicode {unicodedata.unidata_version}, written by nfc-tables.py.\n")
    for kind, name, rows in (("ClassRow", "kClasses", classes), ("DecompositionRow", "kDecompositions", decompositions),
                             ("PairRow", "kPairs", sorted(pairs))):
        out.write(f"static const {kind} {name}[] = {{\n")
        out.writelines("{" + ",".join(map(str, row)) + "},\n" for row in rows)
        out.write("};\n")
    out.write("static const uint32_t kPool[] = {" + ",".join(map(str, pool)) + "};\n")
