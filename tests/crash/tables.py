"""The report for people."""

from __future__ import annotations

from slices import KINDS_OF_INDEX, READERS, THREADS

NOT_YET = "not run yet"

FAULTS = {
    "EIO": "the call fails with EIO, those that read among them",
    "exit before": "the process ends before the call",
    "exit after": "the process ends after the call",
    "ENOSPC": "the call fails with ENOSPC",
    "EACCES": "the call fails with EACCES",
}


def as_markdown(report: dict) -> str:
    """Return a report, see ``report.summary``, as Markdown."""
    return "\n".join(
        [
            "# What the index survived",
            "",
            *_head(report),
            "",
            *_table(["what", "coverage", "figures"], _alone(report)),
            "",
            "## A fault at a call that touches a file",
            "",
            "A session of 16 steps makes these calls, those of SQLite included. Each is struck in a session "
            "of its own, and what is left is compared with what had been acknowledged.",
            "",
            *_table(["what happens", *KINDS_OF_INDEX], _faults(report)),
            *([f"\nNot run here: {report['no faults']}."] if report["no faults"] else []),
            "",
            "## Many at once",
            "",
            *_table(["what", "coverage", "figures"], _crowds(report)),
            "",
            "## What a damaged file led to",
            "",
            *_table(["file", "outcome", "closed well", "writer killed"], _damage(report)),
            "",
            "An error names the file, and the command that repairs the index or that it is to be restored.",
            "",
        ]
    )


def _head(report: dict) -> list[str]:
    ran, of = report["slices"]["run"], report["slices"]["of"]
    slowest = report["slowest slice"]
    wrong = [*report["violations"], *report["ended"]]
    lines = [
        f"Made by `python tests/crash/run.py` from {ran:,} of {of:,} slices, "
        + ("which is all." if report["complete"] else "the others have not run yet.")
    ]
    if slowest:
        lines.append(
            f"They took {report['minutes of work']} minutes and {report['minutes of CPU']} minutes of CPU, "
            f"one after the other; the slowest took {slowest['seconds']} s (`{slowest['name']}`)."
        )
    lines += [
        f"Commit `{report['commit']}`; Python {report['python']}, SQLite {report['sqlite']}, "
        f"{report['machine']}.",
        "",
    ]
    if wrong:
        lines += [f"**{len(wrong)} slices or steps went wrong:**", ""]
        lines += [f"- `{one['slice']}`: {in_short(one['what'])}" for one in wrong]
        return lines
    return [
        *lines,
        "In what has run, no acknowledged document was lost, none came back after its deletion, no "
        "half document was seen, no index failed to open, no damaged file led to a wrong answer, and "
        "nothing hung.",
    ]


def in_short(what: str) -> str:
    """Return where it was and the last line of the traceback; all of it is in ``results.json``."""
    lines = [" ".join(line.split()) for line in what.splitlines() if line.strip()]
    where = lines[0].split(": Traceback")[0][:200]
    return where if len(lines) == 1 else f"{where} … {lines[-1][:400]}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def coverage(report: dict, row: str) -> str:
    """Return how much of a row has run, as "200 of 600 kills"."""
    here = report["coverage"][row]
    if not here["done"]:
        return f"{NOT_YET} ({here['of']:,} {here['unit']})"
    return f"{here['done']:,} of {here['of']:,} {here['unit']}"


def _alone(report: dict) -> list[list[str]]:
    figures = report["figures"]
    sealed = "damaged files of an index that was closed well"
    return [
        [
            "`kill -9` of the writer at a random moment",
            coverage(report, "kills"),
            f"{figures['kills'].get('acknowledged steps', 0):,} steps acknowledged before, all found again",
        ],
        [
            "disk full, then room again",
            coverage(report, "fills"),
            f"{figures['fills'].get('acknowledged documents', 0):,} documents acknowledged",
        ],
        [sealed, coverage(report, "sealed"), "see below"],
        ["damaged files of an index whose writer was killed", coverage(report, "unsealed"), "see below"],
        [
            "random sessions of up to 50 steps beside a dict and numpy",
            coverage(report, "model"),
            f"{figures['model'].get('steps', 0):,} steps agreed: add, upsert, delete, search, filter, "
            "reopen, compact, verify, back up, change the model",
        ],
        [
            "a link, pipe, socket or giant somewhere in an index, and all commands",
            coverage(report, "hostile folders"),
            "nothing outside was changed, nothing waited",
        ],
        [
            "damaged and lying exports",
            coverage(report, "hostile exports"),
            f"{figures['hostile exports'].get('refused', 0):,} refused in words, "
            f"{figures['hostile exports'].get('taken', 0):,} harmless ones taken",
        ],
        ["the picture of the demo, made again", *_picture(report["picture"])],
    ]  # fmt: skip


def _picture(figures: dict) -> list[str]:
    if not figures:
        return [NOT_YET, ""]
    if figures.get("skipped"):
        return ["skipped", figures["skipped"]]
    return ["1 of 1 pictures", figures["outcome"]]


def _faults(report: dict) -> list[list[str]]:
    return [
        [words, *(_calls(report["calls"][name][kind]) for kind in KINDS_OF_INDEX)]
        for name, words in FAULTS.items()
    ]


def _calls(covered: dict) -> str:
    every = covered["every"]
    which = {0: "the last of each step", 1: "every call"}.get(every, f"every {every}th, moving")
    done = f"{covered['done']:,} of {covered['of']:,}" if covered["of"] else NOT_YET
    return f"{done} ({which})"


def _crowds(report: dict) -> list[list[str]]:
    figures = report["figures"]

    def count(row: str, name: str) -> str:
        return f"{figures[row].get(name, 0):,}"

    return [
        [
            f"{THREADS} threads on one index",
            coverage(report, "threads"),
            f"{count('threads', 'writes')} writes, {count('threads', 'reads')} full looks, "
            f"{count('threads', 'retrievals')} retrievals",
        ],
        [
            f"1 writing and {READERS} reading processes",
            coverage(report, "processes"),
            f"{count('processes', 'writes')} writes, {count('processes', 'reads')} full looks",
        ],
        [
            "writers killed while they held the lock",
            coverage(report, "dead writers"),
            f"the next one wrote after at most {count('dead writers', 'slowest takeover, ms')} ms",
        ],
        [
            "backups while a thread was writing",
            coverage(report, "backups"),
            f"each one committed state; {count('backups', 'writes meanwhile')} writes meanwhile",
        ],
        [
            "forks while threads were reading",
            coverage(report, "forks"),
            f"{count('forks', 'reads meanwhile')} full looks meanwhile",
        ],
    ]


def _damage(report: dict) -> list[list[str]]:
    sealed, unsealed = report["figures"]["sealed"], report["figures"]["unsealed"]
    outcomes = sorted(name for name in {*sealed, *unsealed} if ": " in name)
    return [
        [*name.split(": ", 1), f"{sealed.get(name, 0):,}", f"{unsealed.get(name, 0):,}"]
        for name in outcomes
    ] or [[NOT_YET, "", "", ""]]
