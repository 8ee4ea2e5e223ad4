"""Writes the tokenizer cases: strings, small tokenizers of the four published kinds, and the ids that the reference implementations give.

usage: python make_tokenizer_cases.py

tokenizer/strings.bin               varied strings, each with its length in bytes in front
tokenizer/gpt2-style/               GPT-2's pattern (by ByteLevel's use_regex), no normalizer
tokenizer/qwen-style/               Qwen's pattern, NFC, special and ordinary added tokens, merges spelled as strings
tokenizer/llama3-style/             Llama 3's pattern, ignore_merges, a start token in front
tokenizer/kimi-style/               tiktoken.model with Kimi's pattern and 258 ids for special tokens
  ids.bin                           for each string the number of its ids and the ids
Numbers are varints, seven bits a byte, low ones first. The reference is the `tokenizers` library, for Kimi's kind `tiktoken`. Vocabularies
are trained here, on a little text of many scripts, with the published patterns and the names of the published special tokens.
"""

import base64
import json
import random
import sys
import unicodedata
from pathlib import Path

import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = Path(__file__).parent / "tokenizer"
VOCABULARY = 2000
COUNT = 10_000

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = QWEN_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
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
# Offsets from the first special id; the others are called <|reserved_token_N|>.
KIMI_SPECIALS = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 6: "<|im_system|>", 8: "<|im_middle|>",
                 255: "[PAD]"}  # fmt: skip
KIMI_RESERVED = 258
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_pad|>"]
QWEN_ORDINARY = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<|fim_prefix|>"]
LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|start_header_id|>", "<|end_header_id|>",
                  "<|eot_id|>", "<|python_tag|>"]  # fmt: skip

SCRIPTS = {
    "latin": "the of and to in a is that for it with as was on be at by this had not are but from or have an they which one you were "
    "all her she there would their we him been has when who will no more if out so up said what its about than into them can only "
    "Straße naïve façade coöperate Ångström smörgåsbord jalapeño Müller œuvre Łódź İstanbul ılık Æsir ǅungla ﬁne ﬂow ſchön",
    "cyrillic": "и в не на я быть он с что а по это она этот к но они мы весь который из у который то за свой что весь год от так о для "
    "Привет МИР Їжак ёлка Ђорђе Қазақстан",
    "greek": "και το να του η της με που την από για είναι στο Ελλάδα ΑΘΗΝΑ φιλοσοφία ἀρχή ὕδωρ",
    "han": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实 "
    "日本語 繁體 漢字 龍 𠀀 𪛖 々 〇 人口 経済 電車",
    "kana": "これ は テキスト です ひらがな カタカナ ﾊﾝｶｸ がぎぐげご パピプペポ ー・「こんにちは」 东京とうきょう",
    "hangul": "한국어 안녕하세요 세계 대한민국 서울 ㄱㄴㄷ ᄒᆞᆫ 가각갂 힣",
    "thai": "สวัสดี ชาวโลก ประเทศไทย กรุงเทพมหานคร น้ำ เก่า",
    "arabic": "مرحبا بالعالم السلام عليكم العربية كتاب ـــ قَدْ ٱللَّٰه فارسی پاکستان اردو",
    "hebrew": "שלום עולם עברית בְּרֵאשִׁית",
    "devanagari": "नमस्ते दुनिया हिन्दी क्षत्रिय ज्ञान स्त्री कि की संस्कृत श्री",
    "indic": "வணக்கம் உலகம் বাংলা ভাষা ગુજરાતી తెలుగు ಕನ್ನಡ മലയാളം ਪੰਜਾਬੀ සිංහල",
    "others": "გამარჯობა Հայաստան አማርኛ ខ្មែរ မြန်မာ བོད་ ᏣᎳᎩ ⵜⴰⵎⴰⵣⵉⵖⵜ 𐐀𐐨 𒀀 ꙮ ᠮᠣᠩᠭᠣᠯ ߒߞߏ",
    "vietnamese": "Tiếng Việt người không được Đà Nẵng Tie\u0302\u0301ng Vie\u0323\u0302t",
}
EMOJI = "😀 😂 ❤️ 👍🏽 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇯🇵🇫🇷 1️⃣ #️⃣ 🤷🏾‍♀️ ☃ ✈︎ ©️ ™ 🫠 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🧑🏻‍❤️‍💋‍🧑🏿".split()
MARKS = ["\u0300", "\u0301", "\u0308", "\u0323", "\u0327", "\u0345", "\u0331", "\u20dd", "\ufe0f", "\u093c", "\u3099", "\u309a", "\u05b0", "\u0e31",
         "\u064b", "\u0670", "\U0001d165", "\u1dc0", "\ufe20"]  # fmt: skip
SPACES = [" ", " ", " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\r\n\r\n", " \n", "\n ", "  \n  ", "\u00a0", " \u00a0", "\u00a0\u00a0",
          "\u2003", "\u3000", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\u1680", "\u202f", "\u205f", "\u200a", "\x1c", "\x1f", "\u180e", "\u200b",
          "\ufeff", "\u2060", "\n\r", " \t \n\t"]  # fmt: skip
DIGITS = ["0", "7", "12", "123", "1234", "12345", "1234567890", "3.14159", "1,000,000", "٠١٢٣", "१२३४", "１２３", "½", "²³", "Ⅷ", "①②", "𝟘𝟙", "0x1F", "1e-10", "٣.١٤",
          "00", "2nd", "๑๒", "〇一二", "㊿", "৪৫৬৭", "𐒠𐒡"]  # fmt: skip
PUNCTUATION = list(".,;:!?-_()[]{}<>/\\|@#$%^&*+=~`\"'") + ["...", "--", "—", "–", "…", "“", "”", "‘", "’", "«", "»", "¿", "¡", "、", "。", "！", "？", "「", "」",
               "$$", "//", "/*", "*/", "->", "=>", "::", "&&", "||", "!=", "==", "\\n", "''", "``", "·", "•", "€", "£", "¥", "°", "±", "×", "÷", "→", "⇒", "∑", "∞",
               "≠", "□", "★", "♪", "＿", "～", "№", "‰", "′", "␀"]  # fmt: skip
ENDINGS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL", "'D", "\u2019s", "'\u017f", "'x", "'r", "'l", "'", "''s", "'sa", "' s",
           "'\u212a", "'LLama", "'dd", "'v"]  # fmt: skip
ODD = ["\x00", "\x01", "\x7f", "\u00ad", "\ue000", "\uf8ff", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\U000e0001", "\U000f0000", "\ufdd0", "\u0378", "\U0001fbff",
       "\u034f", "\u061c", "\u115f", "\u17b4", "\u2065", "\u2072", "\ufff0", "\u00aa", "\u00ba", "\u02b0", "\u00b5", "\u2126", "\u212b", "\uf900", "\ufa0e",
       "\u2e80", "\u2f00", "\u3005", "\u3007", "\u3021", "\u01c5", "\u1f88", "\u0130", "\u0131", "\u017f", "\u1e9e", "\u10d0", "\u1c90", "\uab70", "\u13a0",
       "\u2160", "\u24b6", "\U0001f130", "\U0001d400", "\ufb01", "\u0345", "\u0f73", "\u0958", "\u2adc", "\ufb1d", "\U0001d15e", "\U0002f800", "\u0344", "\u0340",
       # of Unicode 15 to 16
       "\u0897", "\u0ecf", "\u1c89", "\u1c8a", "\ua7cb", "\ua7da", "\U000105c0", "\U00010d40", "\U00010efd", "\U00011240", "\U00011f02", "\U00011f50",
       "\U00016d40", "\U0001e4d0", "\U0001e4ec", "\U0001e030", "\U0002ebf0", "\U00031350", "\U000323af", "\U00013441", "\U000116d0"]  # fmt: skip
CODE = ["def f(x):\n    return x + 1\n", "if (a && b) { c(); }", "for (int i = 0; i < 10; ++i)\n\tsum += a[i];\n", "#include <stdio.h>\r\n", "https://example.org/a?b=c&d=e#f",
        "user@example.org", "C:\\path\\file.txt", '{"key": [1, 2, null]}', "SELECT * FROM t WHERE a='b';", '<div class="x">y</div>', "__init__", "snake_case_name",
        "kebab-case-name", "getUserName", "iPhone", "HTTPServer", "XMLHttpRequest2", "McDonald's", "camelCaseWith123Numbers", "ABCdef", "aB", "Ab", "x=1;y=2\n\n\n",
        "// comment\n", "\t\tif x:\n\t\t\tpass\n", "        indented\n", "v2.0.1-rc3", "$HOME/.config", "a->b::c", "λx.x", "f'{x!r}'", "print(\"it's\")"]  # fmt: skip
LOOKALIKES = ["<|im_start|>", "<|im_end|>", "<|im_end|", "<|Im_End|>", "<| im_end |>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|begin_of_text|>", "[BOS]",
              "[EOS]", "[bos]", "<think>", "</think>", "<think", "<tool_call>", "</tool_call>", "<|im_user|>", "<|im_middle|>", "<|reserved_token_2000|>", "<|", "|>", "<s>", "</s>",
              "<|reserved_special_token_0|>", "<|start_header_id|>", "<|im_end|><|im_end|>", "<<|im_end|>>", "[PAD]", "<|fim_prefix|>", "<|fim_prefix", "\u00ab|im_end|\u00bb"]  # fmt: skip


def word(rng):
    script = rng.choice(list(SCRIPTS))
    text = SCRIPTS[script]
    if script in ("han", "kana", "hangul", "thai") and rng.random() < 0.6:
        flat = text.replace(" ", "")
        start = rng.randrange(len(flat))
        text = flat[start : start + rng.randint(1, 8)]
    else:
        text = rng.choice(text.split())
    change = rng.random()
    if change < 0.08:
        text = text.upper()
    elif change < 0.16:
        text = text.capitalize()
    elif change < 0.2:
        text = unicodedata.normalize(rng.choice(["NFD", "NFC", "NFKD"]), text)
    return text


def piece(rng):
    kind = rng.random()
    if kind < 0.42:
        return word(rng)
    if kind < 0.62:
        return rng.choice(SPACES)
    for share, options in ((0.69, DIGITS), (0.79, PUNCTUATION), (0.85, ENDINGS), (0.89, EMOJI), (0.92, MARKS), (0.94, CODE), (0.97, ODD)):
        if kind < share:
            return rng.choice(options)
    if kind < 0.99:
        return rng.choice(LOOKALIKES)
    code = rng.choice([rng.randrange(0x80, 0x3000), rng.randrange(0x3000, 0x10000), rng.randrange(0x10000, 0x20000), rng.randrange(0x110000)])
    return chr(code) if not 0xD800 <= code < 0xE000 else "?"


def string(rng):
    kind = rng.random()
    if kind < 0.03:  # a long run
        return rng.choice([rng.choice(PUNCTUATION), rng.choice(DIGITS), rng.choice(SPACES), rng.choice(MARKS), "a", "A", "\u4e2d", "\u3042", "\U0001f600"]) * rng.randint(8, 60)
    if kind < 0.25:  # a sentence
        return rng.choice([" ", "", "\n"]) + " ".join(word(rng) for _ in range(rng.randint(2, 7))) + rng.choice([".", "!", "?\n", "\u3002", ""])
    return "".join(piece(rng) for _ in range(rng.randint(1, 8)))


def strings():
    """All short pieces alone first, then mixtures, where the alternatives of a pattern meet."""
    rng = random.Random(20241)
    pieces = [p for group in (SPACES, DIGITS, PUNCTUATION, ENDINGS, EMOJI, MARKS, CODE, ODD, LOOKALIKES) for p in group]
    pieces += [w for text in SCRIPTS.values() for w in text.split()]
    found = dict.fromkeys(["", *pieces, *(" " + p for p in pieces), *("a" + p for p in pieces), *(p + "1" for p in pieces)])
    while len(found) < COUNT:
        found[string(rng)] = None
    return list(found)[:COUNT]


def training_text():
    rng = random.Random(7)
    return [string(rng) for _ in range(6000)] + [" ".join(word(rng) for _ in range(40)) for _ in range(400)]


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=use_regex)


def trained(pre_tokenizer, texts, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"), byte_level(False)])


def special(names, is_special=True):
    return [AddedToken(name, special=is_special, normalized=False) for name in names]


def byte_of_character():
    """GPT-2's printable stand-ins for bytes, inverted."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(hidden)}


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return out


def write_ids(folder, all_ids):
    data = bytearray()
    for ids in all_ids:
        data += varint(len(ids))
        for i in ids:
            data += varint(i)
    (FOLDER / folder / "ids.bin").write_bytes(data)
    print(f"{folder}: {sum(map(len, all_ids))} ids, {len(data)} bytes")


def save(folder, tokenizer, texts):
    path = FOLDER / folder / "tokenizer.json"
    document = json.loads(tokenizer.to_str())
    if folder == "qwen-style":  # Qwen's files spell a merge as one string; Llama 3's newer ones as a pair. A reader meets both.
        document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    path.write_text(json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n")
    tokenizer = Tokenizer.from_file(str(path))
    all_ids = [tokenizer.encode(text).ids for text in texts]
    for text, ids in zip(texts, all_ids):
        shown = tokenizer.decode(ids[1:] if folder == "llama3-style" else ids, skip_special_tokens=False)
        assert shown == (unicodedata.normalize("NFC", text) if folder == "qwen-style" else text), text
    write_ids(folder, all_ids)


def kimi(texts, training):
    tokenizer = trained(split(LLAMA3_SPLIT), training)
    characters = byte_of_character()
    # Ranks are the order of training, and every token is the joint of two earlier ones.
    ranks = {bytes(characters[c] for c in token): i for token, i in tokenizer.get_vocab().items()}
    lines = sorted(ranks.items(), key=lambda item: item[1])
    (FOLDER / "kimi-style" / "tiktoken.model").write_text("".join(f"{base64.b64encode(t).decode()} {rank}\n" for t, rank in lines))
    first = len(ranks)
    names = {str(first + i): {"content": name, "special": True} for i, name in KIMI_SPECIALS.items()}
    (FOLDER / "kimi-style" / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": names, "tokenizer_class": "TikTokenTokenizer"}, indent=2) + "\n"
    )
    specials = {KIMI_SPECIALS.get(i, f"<|reserved_token_{first + i}|>"): first + i for i in range(KIMI_RESERVED)}
    encoding = tiktoken.Encoding("kimi-style", pat_str=KIMI_SPLIT, mergeable_ranks=ranks, special_tokens=specials)
    all_ids = [encoding.encode(text, allowed_special="all") for text in texts]
    for text, ids in zip(texts, all_ids):
        assert encoding.decode(ids) == text, text
    write_ids("kimi-style", all_ids)


def main():
    texts, training = strings(), training_text()
    for folder in ("gpt2-style", "qwen-style", "llama3-style", "kimi-style"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    data = bytearray()
    for text in texts:
        encoded = text.encode()
        data += varint(len(encoded)) + encoded
    (FOLDER / "strings.bin").write_bytes(data)
    print(f"{len(texts)} strings, {len(data)} bytes")

    gpt2 = trained(byte_level(True), training)
    gpt2.add_special_tokens(special(["<|endoftext|>"]))
    save("gpt2-style", gpt2, texts)

    qwen = trained(split(QWEN_SPLIT), training)
    qwen.normalizer = normalizers.NFC()
    qwen.add_special_tokens(special(QWEN_SPECIAL))
    qwen.add_tokens(special(QWEN_ORDINARY, False))
    save("qwen-style", qwen, texts)

    llama3 = trained(split(LLAMA3_SPLIT), training, ignore_merges=True)
    llama3.add_special_tokens(special(LLAMA3_SPECIAL))
    start = llama3.token_to_id(LLAMA3_SPECIAL[0])
    llama3.post_processor = processors.TemplateProcessing(single=f"{LLAMA3_SPECIAL[0]} $A", special_tokens=[(LLAMA3_SPECIAL[0], start)])
    save("llama3-style", llama3, texts)

    kimi(texts, training)


if __name__ == "__main__":
    sys.exit(main())
