"""A PDF writer of thirty lines, so that tests need no file of somebody else's."""

from __future__ import annotations


def make_pdf(pages, *, title="", encrypt=False):
    """Bytes of a PDF with one line of text per page; ``encrypt`` adds a dictionary that no password fits."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for i, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        page = f"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * i} 0 R >>"
        objects += [page.encode(), b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream)]
    trailer = f"/Root 1 0 R /Size {len(objects) + 3}"
    objects.append(f"<< /Title ({title}) >>".encode())
    trailer += f" /Info {len(objects)} 0 R"
    if encrypt:
        key = b"00" * 32
        objects.append(b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + key + b"> /U <" + key + b"> >>")
        trailer += f" /Encrypt {len(objects)} 0 R /ID [<00> <00>]"
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return out + head + table + f"trailer << {trailer} >>\nstartxref\n{len(out)}\n%%EOF\n".encode()
