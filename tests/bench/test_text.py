"""Foreign text is printed safely, and a reason is the same on every run and machine."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.common.text import LONGEST, as_reason, clean, reason_of
from bench.datasets.base import Item
from bench.store.rows import GENERATED_SCHEMA, TRANSCRIBED_SCHEMA, SpeechRow, TranscriptRow, frame
from bench.systems.base import Variant
from bench.systems.python import PythonGenerator, PythonSystem


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\dcs", "dcs"),
        ("\x1b]52;c;never ended", "52;c;never ended"),
        ("a\r\nb\x00c\u2028d", "a  b c d"),
        ("right\u202eleft\u061c\u2066", "rightleft"),
        ("zero\u200b width\ufeff\u00ad", "zero width"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("\udcffbyte", "\ufffdbyte"),
        ("::error file=a::b", ": :error file=a: :b"),
        (":\u200b:set-output name=x::y", ": :set-output name=x: :y"),
        ("\n:::", " : : :"),
        ("##[group]x ##vso[task.x]y ##teamcity[z]", "# #[group]x # #vso[task.x]y # #teamcity[z]"),
        ("## a heading, #1, a: b", "## a heading, #1, a: b"),
        ("猫 ÄÖ 🐶 שלום", "猫 ÄÖ 🐶 שלום"),
    ],
)
def test_foreign_text_cannot_control_terminal_log_or_markdown(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<Foo object at 0x7f3a10c2e5d0> is bad", "<Foo object at 0x…> is bad"),
        ("cannot open '/home/me/My Pictures/a.jpg'", "cannot open 'a.jpg'"),
        ("File /tmp/ab/cd.py, line 3", "File cd.py, line 3"),
        ("C:\\Users\\me\\a.jpg: no such file", "a.jpg: no such file"),
        (
            "see https://example.org/a/b and and/or 3/4",
            "see https://example.org/a/b and and/or 3/4",
        ),
        ("Actor(Mine, 2b1f00aa90ff)", "Actor(Mine, …)"),
        ("ObjectRef(00ffaa1122ee)", "ObjectRef(…)"),
        ("actor_id=2b1f00aa90ff, pid=4711, ip=10.0.0.7", "actor_id=…, pid=…, ip=…"),
        ("Process 4711 has 2 GiB", "Process … has 2 GiB"),
        ("<Thread(Thread-1, started 140234567)>", "<Thread(Thread-1, started …)>"),
        ("'/tmp/tmpab12_cd9/x.wav'", "'x.wav'"),
        ("in tmpab12_cd9", "in tmp…"),
        ("d41d8cd98f00b204e9800998ecf8427e.wav: no such file",) * 2,
        ("two\nlines\x1b[31m", "two lines"),
        ("", ""),
    ],
)
def test_a_reason_does_not_depend_on_run_or_machine(text: str, reason: str) -> None:
    assert as_reason(text) == reason
    assert as_reason(reason) == reason


class _Broken(Exception):
    def __str__(self) -> str:
        raise ValueError


def test_a_reason_is_the_class_and_the_first_line() -> None:
    assert reason_of(KeyError("units")) == "KeyError: 'units'"
    assert (
        reason_of(RuntimeError("\n  CUDA error: x\nCompile with y"))
        == "RuntimeError: CUDA error: x"
    )
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(_Broken()) == "_Broken"
    quoted = 'Traceback (most recent call last):\n  File "x.py"\nOSError: gone'
    assert reason_of(RuntimeError(quoted)) == "RuntimeError: OSError: gone"


def test_an_error_from_an_actor_has_the_reason_of_its_cause() -> None:
    from ray.exceptions import ActorDiedError, RayTaskError

    traceback = "Traceback (most recent call last):\nValueError: seven is refused"
    error = RayTaskError(
        "work", traceback, ValueError("seven\nis refused"), pid=4711, ip="10.0.0.7"
    )
    assert reason_of(error) == reason_of(error.as_instanceof_cause()) == "ValueError: seven"
    # One raised while the actor was made is there as a traceback only.
    assert reason_of(ActorDiedError(error)) == "ValueError: seven is refused"


@pytest.mark.parametrize("text", ["x" * 200_000, "\x1b]" * 100_000, "'/" * 100_000, "a/" * 100_000])
def test_every_committed_reason_is_formatted(text: str) -> None:
    text = f"{object()} said {text}\udcff\x1b[0m\n::error::"
    generated = frame([SpeechRow(item="a", status="failed", reason=text)], GENERATED_SCHEMA)[
        "reason"
    ][0]
    transcribed = frame(
        [TranscriptRow(item="a", status="failed", reason=text)], TRANSCRIBED_SCHEMA
    )["reason"][0]
    assert generated == transcribed == as_reason(text)
    assert generated.startswith("<object object at 0x…> said")
    assert len(generated) <= LONGEST
    assert not any(char in generated for char in "\x1b\n\udcff")


HOSTILE = """
class Bad:
    def __init__(self, device):
        pass

    def generate(self, image, item):
        raise ValueError(f"{self} at {hex(id(self))}\\n{'x' * 200_000}\\x1b[31m")
"""


def test_a_user_s_exception_gives_the_same_bytes_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_system.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = PythonSystem(kind="python", label="bad", entry="bad_system:Bad")
    asked = [(Item("a", tmp_path / "a.jpg", ()), (Variant("k", 0.0, spec),))]
    # Both live, so the addresses differ.
    generators = [PythonGenerator(spec, "cpu") for _ in range(2)]
    rows = [
        frame([row for _, row in generator.generate(asked)], GENERATED_SCHEMA)
        for generator in generators
    ]
    assert rows[0].equals(rows[1])
    assert rows[0]["reason"].to_list() == ["ValueError: <bad_system.Bad object at 0x…> at 0x…"]


@pytest.mark.parametrize(
    ("fault", "machines"),
    [
        ("MemoryError()", True),
        ("RuntimeError('CUDA out of memory. Tried to allocate')", True),
        ("RuntimeError('CUDA error: an illegal memory access')", True),
        ('RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried")', True),
        ("OSError(28, 'No space left on device')", True),
        ("OSError(2, 'No such file')", False),
        ("RuntimeError('bad picture')", False),
    ],
)
def test_a_machine_s_failure_is_not_the_item_s(
    fault: str, machines: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"faulty_{abs(hash(fault))}"
    text = HOSTILE[: HOSTILE.index("raise")] + f"raise {fault}\n"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = PythonSystem(kind="python", label="bad", entry=f"{name}:Bad")
    asked = [(Item("a", tmp_path / "a.jpg", ()), (Variant("k", 0.0, spec),))]
    generator = PythonGenerator(spec, "cpu")
    if machines:
        # Raised as it is, it reaches the pool, which has the item tried again.
        with pytest.raises((MemoryError, RuntimeError, OSError)):
            generator.generate(asked)
    else:
        assert [row.status for _, row in generator.generate(asked)] == ["failed"]


_BITS = (
    *(
        "/",
        "\\",
        "'",
        '"',
        ":",
        "::",
        "##",
        "[",
        "vso[",
        "\x1b",
        "]",
        "\x07",
        "\x9b",
        "m",
        "\n",
        " ",
    ),
    *(
        "tmp",
        "abcd1234",
        "0x",
        "7f3a10",
        "pid",
        "=",
        "4711",
        "Actor(",
        ",",
        "ObjectRef(",
        "actor_id",
    ),
    *(
        "process",
        "started",
        "ip",
        "10.0.0.7",
        "C:",
        "b.wav",
        "…",
        "\u200b",
        "\u202e",
        "\udc80",
        "猫",
    ),
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(_BITS) | st.characters(), max_size=120).map("".join))
def test_clean_and_as_reason_are_idempotent(text: str) -> None:
    shown, reason = clean(text), as_reason(text)
    # A resumed run makes a reason of a reason, and has to come to the same.
    assert (clean(shown), as_reason(reason)) == (shown, reason)
    assert len(reason) <= LONGEST
    for line in (shown, reason):
        line.encode()
        assert not any(command in line for command in ("::", "##[", "##vso[", "\n", "\x1b"))
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in line)
