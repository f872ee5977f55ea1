"""split.py FILE SHIFT NEW: the same object, its BTF numbered as that of a module is, behind the types of a kernel."""
import struct
import sys

path, shift, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
data = bytearray(open(path, "rb").read())
table, count, names = struct.unpack_from("<Q", data, 0x28)[0], *struct.unpack_from("<HH", data, 0x3C)
rows = [struct.unpack_from("<IIQQQQ", data, table + 64 * i) for i in range(count)]
offset = next(r[4] for r in rows if data[rows[names][4] + r[0] :].startswith(b".BTF\0"))
size = struct.unpack_from("<I", data, offset + 12)[0]
N, T, P = "NTP"
ITEMS = {1: (P, P, 1), 3: (P, T + T + P, 1), 4: (P, N + T + P, 0), 5: (P, N + T + P, 0), 6: (P, N + P, 0)}
ITEMS |= {13: (T, N + T, 0), 14: (T, P, 1), 15: (P, T + P + P, 0), 17: (T, P, 1), 7: (P, "", 1), 16: (P, "", 1)}
at, end = offset + 24, offset + 24 + size
while at < end:
    info = struct.unpack_from("<I", data, at + 4)[0]
    third, item, items = ITEMS.get(info >> 24 & 31, (T, "", 1))
    for role in N + P + third + item * (items or info & 0xFFFF):
        word = struct.unpack_from("<I", data, at)[0]
        # The first three types and the empty string are the kernel's, which became more.
        if role == T and word:
            word += 40 + shift if word <= 3 else 1000 + shift
        if role == N and word:
            word += 5000 + 7 * shift
        struct.pack_into("<I", data, at, word)
        at += 4
open(out, "wb").write(data)
