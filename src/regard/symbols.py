"""The four special symbols, with the same ids in every vocabulary, so that no model or search must be told them."""

PAD = 0
UNK = 1
BOS = 2
EOS = 3

NAMES = ("<pad>", "<unk>", "<s>", "</s>")

# A vocabulary of bytes: 256 of them behind the special symbols, so its space has a known id, too.
FIRST_BYTE = len(NAMES)
NUM_BYTES = 256
SPACE = FIRST_BYTE + ord(" ")
