"""`python -m bench.identity`: a stream of events of made people, and how well each set of rules tells them apart."""

import shutil
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import click
import msgspec

from bench.identity import report
from bench.identity.population import read, world
from bench.identity.run import Result, measure, people
from bench.identity.shares import Shares
from bench.identity.stream import lines, stream
from bench.identity.stream import read as read_events
from bench.identity.truth import truth
from bench.identity.variants import STREAMS, VARIANTS, Variant
from bench.peers.environment import python, run
from bench.process import ROOT
from portrait.model.identifier import Identifier

DIRECTORY = ROOT / "var" / "bench" / "identity"
"""Where the environment, the streams and databases go; they stay for a look."""
SCRIPT = Path(__file__).with_name("sample.py")
_begun = time.monotonic()


def tell(text: str) -> None:
    """Say what is going on."""
    click.echo(f"{time.monotonic() - _begun:7.1f} s  {text}", err=True)


@click.command()
@click.option("--events", default=100_000, show_default=True, help="How many events the stream has.")
@click.option("--seed", default=1, show_default=True, help="Other seeds give other people and other streams.")
@click.option("--chunk", default=200, show_default=True, help="How many events share a transaction.")
@click.option("--workers", default=1, show_default=True, help="How many sets of rules are measured at once.")
@click.option("--only", multiple=True, metavar="WORDS", help="Measure rules whose name begins so; writes no page.")
@click.option("--shuffles", default=0, help="Only compare who is one person in so many other orders; writes no page.")
@click.option("--directory", type=click.Path(path_type=Path), default=DIRECTORY, help="Where files go.")
def main(
    *, events: int, seed: int, chunk: int, workers: int, only: tuple[str, ...], shuffles: int, directory: Path
) -> None:
    """Measure how well the identity rules tell people apart, and write docs/explanation/identity-measured.md."""
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    tell("people")
    population = directory / "people.jsonl"
    population.write_text(run([python(directory, "people"), SCRIPT, str(seed)]))
    tell("events")
    kinds = STREAMS if not only else dict([next(iter(STREAMS.items())), next(reversed(STREAMS.items()))])
    streams = {
        name: _made(
            population, directory / f"events-{at}.jsonl", msgspec.structs.replace(Shares(), **changed), seed, events
        )
        for at, (name, changed) in enumerate(kinds.items())
    }
    *others, hardest = streams
    rules = [variant for variant in VARIANTS if not only or variant.name.startswith(only)]
    cases = [(VARIANTS[0]._replace(name=name), streams[name]) for name in others]
    cases += [(variant, streams[hardest]) for variant in rules]
    with ProcessPoolExecutor(workers) as pool:
        if shuffles:
            _compare(pool, streams[hardest], directory, chunk, shuffles)
            return
        jobs = [pool.submit(_measured, *case, directory / f"case-{at}", chunk) for at, case in enumerate(cases)]
        results = [_done(job) for job in jobs]
    click.echo(report.summary(results))
    if not only:
        hardest_events = read_events(streams[hardest].read_bytes().splitlines())
        by_stream, by_rules = results[: len(others)], results[len(others) :]
        by_stream.append(msgspec.structs.replace(by_rules[0], name=hardest))
        report.write(by_rules, by_stream, hardest_events, report.Options(events, seed, chunk))


def _compare(pool: ProcessPoolExecutor, stream: Path, directory: Path, chunk: int, shuffles: int) -> None:
    """Say in how many other orders the stream makes the same people; end with 1 where one does not."""
    jobs = [pool.submit(_people, stream, directory / f"order-{seed}", chunk, seed) for seed in range(shuffles + 1)]
    first, *others = (job.result() for job in jobs)
    different = [len(first ^ other) for other in others if other != first]
    tell(f"{len(first):,} people; {shuffles - len(different)} of {shuffles} other orders make the same")
    if different:
        raise SystemExit(f"profiles that differ, by order: {different}")


def _people(stream: Path, directory: Path, chunk: int, seed: int) -> frozenset[frozenset[Identifier]]:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    result = people(VARIANTS[0], read_events(stream.read_bytes().splitlines()), directory, chunk, seed)
    tell(f"order {seed}: {len(result):,} people")
    return result


def _made(population: Path, path: Path, shares: Shares, seed: int, events: int) -> Path:
    """Write a stream, and return where."""
    everybody = world(read(population.read_bytes().splitlines()), shares, seed)
    path.write_bytes(b"".join(lines(stream(everybody, shares, seed, events))))
    return path


def _measured(variant: Variant, stream: Path, directory: Path, chunk: int) -> Result:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    events = read_events(stream.read_bytes().splitlines())
    return measure(variant, events, truth(events), directory, chunk)


def _done(job: Future[Result]) -> Result:
    result = job.result()
    tell(f"{result.name}: {result.seconds:.0f} s of CPU")
    return result


if __name__ == "__main__":
    main()
