"""Writes the tokenizer cases: strings and the ids that independent implementations give them.

usage: python make_tokenizer_cases.py

tokenizer/cases.jsonl            the tokenizer of models/llama/tiny, by the `tokenizers` library
tokenizer/qwen-style/            the same vocabulary with Qwen's pattern and NFC, by the same library
tokenizer/kimi-style/            the same vocabulary as tiktoken.model with Kimi's pattern, by `encode_ranks` below
One JSON object a line, {"text": ..., "ids": [...]}, in ASCII so that no editor changes a character.
"""

import base64
import json
import random
import unicodedata
from pathlib import Path

import regex
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

FOLDER = Path(__file__).parent / "tokenizer"
TINY = Path(__file__).parents[2] / "models" / "llama" / "tiny"

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = (rf"[{c}\p{{Lm}}\p{{Lo}}\p{{M}}&&[^\p{{Han}}]]" for c in (r"\p{Lu}\p{Lt}", r"\p{Ll}"))
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI_SPLIT = "|".join(
    [
        r"[\p{Han}]+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
KIMI_SPECIALS = {1023: "[BOS]", 1024: "[EOS]", 1025: "<|im_end|>", 1027: "<|im_user|>", 1028: "<|im_middle|>"}

TEXTS = [
    # words, speeches, contractions
    "", "a", " ", "the", " the", "The", "ROMEO:", "ROMEO:\n", "KING RICHARD III:\nNow is the winter",
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n",
    "I'll", "I'LL", "we've they're don't he'd I'm it's", "WE'VE THEY'RE DON'T HE'D I'M IT'S", "'tis 'Tis 'twas",
    "o'er e'en ne'er", "rock'n'roll", "'s", " 's", "''s", "s's", "'S's'T't", "it\u2019s don\u2019t", "l'\u00e9t\u00e9",
    "antidisestablishmentarianism", "zzzzzzzzzzzzzzzzzzzzzzzz", "aAaAaAaA", "Thou art more lovely and more temperate:",
    # whitespace
    "  ", "   ", "\t", "\n", "\n\n", "\n\n\n\n", "\r", "\r\n", "\r\n\r\n", " \n", "\n ", " \n ", "  \n  \n  ", "\t\t\tx",
    "x   ", "x  y", "x   y", "x \t y", "a\tb", "a\nb", "a\r\nb", "a\rb", "a\n\r\n\rb", "   leading", "trailing   ",
    "  two  spaces  between  words  ", "line one  \nline two", "line one\r\n  line two\r\n", "\u00a0", "a\u00a0b", "\u2003em\u2003space",
    "\u3000full width\u3000", "\u200bzero width\u200b", "a\u2028b\u2029c", "\x0b\x0c", "\x85next", "x\u00a0\u00a0 y", " \u00a0 ", "\ufeffBOM",
    # digits
    "0", "12", "123", "1234", "12345", "1234567890", " 1", " 12 345", "3.14159", "1,000,000.00", "-42", "1e-10", "0x1F", "2nd 3rd",
    "\u0661\u0662\u0663\u0664", "\u00bd \u00b2 \u2167", "\u096a\u096b", "v2.0.1-rc3", "12:34:56", "a1b2c3", "1st2nd", "\uff11\uff12\uff13\uff14",
    # punctuation
    ".", "...", "!?!?", "--", " -- ", "---\n", "\"quoted\"", "(a)", "[b]", "{c}", "a.b.c", "a, b; c: d!", ".\n", "!\n\n", "!\r\n", " !\n x",
    "?\n\n\nx", "$100 & 50%", "#hashtag @name", "~`^|\\/<>", "a/b/c", "\u2014dash\u2014", "\u201cquotes\u201d", "\u2026", "\u00bfQu\u00e9?", " \u2014 ",
    # code
    "def f(x):\n    return x + 1\n", "if (a && b) { c(); }", "for (int i = 0; i < 10; ++i)\n\tsum += a[i];\n", "x=1;y=2", "#include <stdio.h>\n",
    "https://example.org/a?b=c&d=e#f", "user@example.org", "C:\\path\\file.txt", "{\"key\": [1, 2, null]}", "SELECT * FROM t WHERE a='b';",
    "<div class=\"x\">y</div>", "a->b::c", "\\n\\t\\u0041", "/* comment */ // more", "__init__", "snake_case_name", "kebab-case-name",
    # camel case
    "getUserName", "iPhone", "HTTPServer", "XMLHttpRequest2", "parseJSONData", "McDonald", "eBay", "camelCaseWith123Numbers", "ABCdef", "aB", "Ab", "AB's",
    # other scripts
    "caf\u00e9", "cafe\u0301", "na\u00efve", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u212bngstr\u00f6m", "Stra\u00dfe", "\u01c5 \u01c6 \u01c4", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "Ti\u1ebfng Vi\u1ec7t",
    "Tie\u0302\u0301ng Vie\u0323\u0302t", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\ud55c\uad6d\uc5b4", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u4e2d\u6587English\u6df7\u5408", "\u4e2d 1 \u6587", "\u4eba\u3005\u3006",
    "\u2e80\u2f00", "\uf900\ufa0e", "\U00020000\U0002a6df", "\u3042\u30a2\uff71", "\u3007\u3021", "Latin\u4e2dlatin", "\u00aa\u00ba", "\u02b0\u02b1", "\u0300", "\u0300a", "e\u0301\u0301\u0301", "\u0130I\u0131i",
    "\u017f\u212a", "'\u017f", "I'\u017f", "'\u212a",
    # emoji and symbols
    "\U0001f600", "\U0001f600\U0001f601\U0001f602", "hi \U0001f44b\U0001f3fd!", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\u2211\u222b\u221a \u2248 \u221e", "\u2190\u2192", "\u20ac5 \u00a35 \u00a55",
    "\U0001d54f\U0001d7d9", "\u2460\u2461", "\u0000", "a\u0000b", "\u0001\u007f", "\ue000\uf8ff", "\ufffd", "\U0010ffff", "\ufdd0",
    # specials, whole and broken
    "<|end_of_text|>", "a<|end_of_text|>b", "<|end_of_text|><|end_of_text|>", " <|end_of_text|> ", "<|end_of_text", "<|End_Of_Text|>", "\n<|end_of_text|>\n",
    "<|im_end|>", "<|im_user|>user<|im_middle|>hi<|im_end|>", "[BOS]x[EOS]", "[bos]", "<|reserved_token_1026|>", "<|im_user|",
]  # fmt: skip


def mixtures(count: int) -> list[str]:
    """Random joins of short pieces: the places where the alternatives of a pattern meet."""
    rng = random.Random(7)
    pieces = "a B the And 's 'LL 1 22 333 4444 . , -- ! \u00e9 \u4e2d \u6587 \u0301 \U0001f600 _ : \u00a0 \u3000".split(" ")
    pieces += [" ", " ", "  ", "\n", "\r\n", "\t", " \n", "\n\n"]
    return ["".join(rng.choice(pieces) for _ in range(rng.randint(3, 14))) for _ in range(count)]


def encode_ranks(text: str, ranks: dict[bytes, int], pattern: regex.Pattern) -> list[int]:
    """Pieces by the pattern; in a piece the adjacent pair of lowest joint rank is merged until none is known."""
    ids = []
    for match in pattern.finditer(text):
        piece = match.group().encode()
        if piece in ranks:
            ids.append(ranks[piece])
            continue
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            joint = [ranks.get(a + b, len(ranks)) for a, b in zip(parts, parts[1:])]
            i = joint.index(min(joint))
            if joint[i] == len(ranks):
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [ranks[part] for part in parts]
    return ids


def encode_with_specials(text: str, ranks: dict[bytes, int], pattern: regex.Pattern, specials: dict[int, str]) -> list[int]:
    by_name = {name: i for i, name in specials.items()}
    cut = regex.compile("(" + "|".join(regex.escape(name) for name in by_name) + ")")
    ids = []
    for part in cut.split(text):
        ids += [by_name[part]] if part in by_name else encode_ranks(part, ranks, pattern)
    return ids


def byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, inverted."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    table = {chr(b): b for b in printable}
    hidden = [b for b in range(256) if b not in printable]
    return table | {chr(256 + n): b for n, b in enumerate(hidden)}


def write_cases(path: Path, cases: list[tuple[str, list[int]]]) -> None:
    path.write_text("".join(json.dumps({"text": text, "ids": ids}) + "\n" for text, ids in cases))
    print(f"{path.relative_to(FOLDER)}: {len(cases)}")


def main() -> None:
    texts = list(dict.fromkeys(TEXTS + mixtures(60)))
    for folder in ("qwen-style", "kimi-style"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)

    llama = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    encoded = [(text, llama.encode(text).ids) for text in texts]
    for text, ids in encoded:
        assert llama.decode(ids, skip_special_tokens=False) == text, text
    write_cases(FOLDER / "cases.jsonl", encoded)

    qwen = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    qwen.normalizer = normalizers.NFC()
    qwen.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    model = json.loads(qwen.to_str())
    model["model"]["ignore_merges"] = False
    # Qwen's files spell a merge as one string; Llama 3's newer ones as a pair. A reader meets both.
    model["model"]["merges"] = [" ".join(pair) for pair in model["model"]["merges"]]
    (FOLDER / "qwen-style" / "tokenizer.json").write_text(json.dumps(model, indent=1, ensure_ascii=False) + "\n")
    qwen = Tokenizer.from_file(str(FOLDER / "qwen-style" / "tokenizer.json"))
    encoded_qwen = [(text, qwen.encode(text).ids) for text in texts]
    write_cases(FOLDER / "qwen-style" / "cases.jsonl", encoded_qwen)

    characters = byte_of_character()
    special = llama.token_to_id("<|end_of_text|>")
    ranks = {
        bytes(characters[c] for c in token): i for token, i in llama.get_vocab(with_added_tokens=True).items() if i != special
    }
    # The two ways of doing byte-pair encoding and the two regular expression engines, held against each other.
    for split, cases, normal in ((model_split(llama), encoded, False), (QWEN_SPLIT, encoded_qwen, True)):
        pattern, differ = regex.compile(split), []
        for text, ids in cases:
            text = unicodedata.normalize("NFC", text) if normal else text
            if encode_with_specials(text, ranks, pattern, {special: "<|end_of_text|>"}) != ids:
                differ.append(text)
        assert not differ, differ

    lines = sorted(ranks.items(), key=lambda item: item[1])
    (FOLDER / "kimi-style" / "tiktoken.model").write_text(
        "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in lines)
    )
    names = {str(i): {"content": name, "special": True} for i, name in KIMI_SPECIALS.items()}
    (FOLDER / "kimi-style" / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": names, "tokenizer_class": "TikTokenTokenizer"}, indent=2) + "\n"
    )
    # Ids without a name get one from their number.
    specials = {i: KIMI_SPECIALS.get(i, f"<|reserved_token_{i}|>") for i in range(len(ranks), len(ranks) + 258)}
    pattern = regex.compile(KIMI_SPLIT, regex.VERSION1)
    write_cases(
        FOLDER / "kimi-style" / "cases.jsonl",
        [(text, encode_with_specials(text, ranks, pattern, specials)) for text in texts],
    )


def model_split(tokenizer: Tokenizer) -> str:
    return json.loads(tokenizer.to_str())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]


if __name__ == "__main__":
    main()
