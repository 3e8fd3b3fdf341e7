"""Characters by what they look like: frozen vectors of glyphs, a tokenizer of code points, lookalikes, an encoder.

Fonts, characters and texts enter; vectors of characters, token ids, folded texts and text vectors leave.
Never trains, never downloads a font, never needs torch.
Start with `table.GlyphTable`, then `folding`.
"""
