"""The entry point on real processes: a stand-in vLLM that eats memory, hangs, crashes, drains, forks and is deaf.

Its clock runs twenty times as fast as in the image (a second of the watchdog is 50 ms here), nothing else is different.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import servekit
from tests.servekit import alive

# The small world's profile: below 100,000 kB is low (starting, too), below 150,000 it warns, below 10,000 is critical.
LOW, WARM, PLENTY, CRITICAL, UNWELL = 90_000, 140_000, 1_000_000, 9_000, 50_000


@pytest.fixture
def world(tmp_path):
    return servekit.World(tmp_path)


# The ordinary life


def test_from_start_to_stop(world):
    world.behave(ready=0.3)
    with world.start() as running:
        running.until_said("started")
        assert running.health() == (1, "start-up: the server is starting")
        running.until_said("ready")
        running.until(lambda: running.health() == (0, "serving: well"))
        running.signal(signal.SIGTERM)
        assert running.end() == 0
    assert running.names == ["started", "ready", "told-to-end", "ended"]
    assert running.event("told-to-end")["signal"] == "SIGTERM"
    ended = running.event("ended")
    assert (ended["phase"], ended["code"], ended["status"]) == ("teardown", 0, 0)
    assert running.health()[0] == 1


def test_what_the_server_is_given(world):
    with world.start("--", "--seed", "7") as running:
        running.until_said("ready")
        (first, *_) = running.logged()
        assert first["arguments"][:4] == ["serve", str(world.model), "--served-model-name", "small"]
        assert first["arguments"][-2:] == ["--seed", "7"]
        environment = first["environment"]
        assert (environment["VLLM_KNOWN"], environment["VLLM_OF_THE_FORK"]) == ("1", None)
        assert environment["TRITON_CACHE_DIR"] == f"{world.cache}/triton"
        assert first["blocked"] == [], "our own waiting is none of its business"
        assert first["session"] == first["pid"] != running.process.pid
        assert first["descriptors"] == ["0", "1", "2", "3"], "and the one that lists them"
        assert first["oom"] == "500", "the kernel is to prefer it"
        assert "vllm serve" in running.err, "the command is printed first"


def test_an_event_is_one_line_with_the_memory_before_it(world):
    world.behave(eat=[(0.6, WARM)])
    with world.start() as running:
        running.until_said("memory-warning")
        event = running.event("memory-warning")
    assert (event["available_kb"], event["source"], event["threshold_kb"]) == (WARM, "host", 100_000)
    assert (event["phase"], event["level"]) == ("serving", "warning")
    history = event["history_kb"]
    assert history[-1] == WARM
    assert set(history[:-1]) == {PLENTY}
    assert 5 < len(history) <= 20, "as much as the profile wants"
    assert event["history_step_seconds"] == 1
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")


# Memory


def test_it_warns_is_unhealthy_ends_it_and_waits_for_the_drain(world):
    world.behave(drain=0.3)
    with world.start() as running:
        running.until_said("ready")
        running.memory(WARM)
        running.until_said("memory-warning")
        assert running.health() == (0, "serving: well")
        running.memory(LOW)
        running.until_said("memory-short")
        running.until_logged("signal")
        assert running.health() == (1, "teardown: the server is ending")
        assert running.end() == 81
    assert running.names == ["started", "ready", "memory-warning", "memory-low", "memory-short", "ended"]
    assert [entry["signal"] for entry in running.logged() if "signal" in entry] == ["SIGTERM"]
    assert running.event("ended")["code"] == 0, "it ended by itself"


def test_unhealthy_before_it_is_ended(world):
    world.change(patience_seconds=600)
    with world.start() as running:
        running.until_said("ready")
        running.memory(LOW)
        running.until_said("memory-low")
        running.until(lambda: running.health() == (1, "serving: memory is low"))
        running.memory(PLENTY)
        running.until_said("memory-recovered")
        running.until(lambda: running.health() == (0, "serving: well"))
        assert "memory-short" not in running.names


def test_no_flapping_around_the_thresholds(world):
    course = [(0.2 + 0.1 * number, 149_000 if number % 2 else 152_000) for number in range(12)]
    world.behave(eat=course)
    with world.start() as running:
        running.until_said("memory-warning")
        time.sleep(1.5)
        assert running.names.count("memory-warning") == 1
        assert "memory-recovered" not in running.names


def test_too_little_while_it_starts(world):
    world.behave(ready=None, eat=[(0.3, LOW)])
    with world.start() as running:
        assert running.end() == 80
    assert "ready" not in running.names
    event = running.event("memory-short")
    assert (event["phase"], event["level"], event["threshold_kb"]) == ("start-up", "low", 100_000), (
        "when it was decided"
    )


def test_a_threshold_of_its_own_while_it_starts(world):
    world.profile.write_text(world.profile.read_text() + "startup-min-available-kb = 50000\n")
    world.behave(ready=0.8, eat=[(0.2, LOW)])
    with world.start() as running:
        running.until_said("ready")
        assert "memory-low" not in running.names
        assert running.end() == 81, "too little to serve"


def test_deaf_to_the_end_it_is_killed(world):
    world.behave(ignore=True, orphans=1)
    with world.start() as running:
        running.until_said("ready")
        running.until_logged("orphan")
        running.memory(LOW)
        assert running.end() == 81
    assert "drain-over" in running.names
    assert running.event("ended")["signal"] == "SIGKILL"
    assert not any(alive(pid) for pid in running.pids())


def test_critical_at_once(world):
    world.change(patience_seconds=600)
    with world.start() as running:
        running.until_said("ready")
        running.memory(CRITICAL)
        assert running.end() == 81


def test_low_memory_at_teardown_kills_nobody(world):
    """What happened to the seed: the memory of a server that ends comes back late, and its watchdog killed."""
    world.behave(drain=0.6, free=[(0.05, UNWELL), (0.3, UNWELL - 1), (0.5, PLENTY)])
    with world.start() as running:
        running.until_said("ready")
        running.signal(signal.SIGTERM)
        assert running.end() == 0
    assert running.names == ["started", "ready", "told-to-end", "ended"]
    assert UNWELL in running.event("ended")["history_kb"]


def test_critical_memory_at_teardown_does(world):
    world.change(drain_seconds=60)
    world.behave(drain=600, free=[(0.1, CRITICAL)])
    with world.start() as running:
        running.until_said("ready")
        running.signal(signal.SIGTERM)
        assert running.end() == 82
    assert running.names[-2:] == ["memory-critical", "ended"]


def test_the_limit_of_a_cgroup(world):
    (world.groups / "memory.max").write_text("1000000000\n")
    (world.groups / "memory.current").write_text("100000000\n")
    (world.groups / "memory.stat").write_text("inactive_file 0\n")
    with world.start() as running:
        running.until_said("ready")
        (world.groups / "memory.current").write_text("950000000\n")
        assert running.end() == 81
    event = running.event("memory-short")
    assert (event["source"], event["available_kb"]) == ("cgroup", 50_000_000 // 1024)


def test_memory_that_cannot_be_read_for_a_while(world):
    with world.start() as running:
        running.until_said("ready")
        world.meminfo.write_text("")
        running.until_said("memory-unreadable")
        running.until(lambda: running.health()[0] == 0)
        running.memory(PLENTY)
        running.until_said("memory-readable")
        assert running.names.count("memory-unreadable") == 1
        running.memory(LOW)
        assert running.end() == 81


def test_nothing_is_served_unwatched(world):
    world.meminfo.unlink()
    done = world.run()
    assert done.status == 87
    assert "nothing is served unwatched" in done.err
    assert not world.log.exists()


# Crashes, and what hangs


@pytest.mark.parametrize(("code", "told"), [(1, {"code": 1}), (-11, {"signal": "SIGSEGV"})])
def test_a_crash_while_it_starts(world, code, told):
    world.behave(ready=None, crash=[0.2, code])
    with world.start() as running:
        assert running.end() == 83
    ended = running.event("ended")
    assert told.items() <= ended.items()
    assert ended["phase"] == "start-up"


def test_a_crash_while_it_serves(world):
    world.behave(crash=[1.0, 3])
    with world.start() as running:
        assert running.end() == 84
    assert running.event("ended")["phase"] == "serving"


def test_killed_by_somebody_else(world):
    with world.start() as running:
        running.until_said("ready")
        os.kill(running.pids()[0], signal.SIGKILL)
        assert running.end() == 84
    assert running.event("ended")["signal"] == "SIGKILL"


def test_a_server_that_ends_by_itself(world):
    world.behave(crash=[1.0, 0])
    with world.start() as running:
        assert running.end() == 0


def test_a_crash_while_it_ends(world):
    world.behave(code=7)
    with world.start() as running:
        running.until_said("ready")
        running.signal(signal.SIGTERM)
        assert running.end() == 86


def test_a_drain_that_takes_too_long(world):
    world.behave(drain=600)
    with world.start() as running:
        running.until_said("ready")
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.end() == 85
    assert 0.9 < time.monotonic() - began < 5, "the profile's one second"


def test_a_server_that_hangs(world):
    """It answered, and does not any more: unhealthy, and left alone."""
    world.behave(hang=0.5)
    with world.start() as running:
        running.until_said("ready")
        running.until_said("unresponsive")
        running.until(lambda: running.health() == (1, "serving: the server does not answer"))
        running.signal(signal.SIGTERM)
        assert running.end() == 0


def test_a_server_that_answers_with_an_error_is_not_ready(world):
    world.behave(status=503)
    with world.start() as running:
        running.until_logged("listening")
        time.sleep(0.5)
        assert "ready" not in running.names


def test_a_server_behind_tls_is_ready_when_it_takes_a_connection(world):
    world.behave(status=503)
    with world.start("--", "--ssl-certfile", "x") as running:
        running.until_said("ready")


# Signals and children


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_signals_that_end(world, number):
    with world.start() as running:
        running.until_said("ready")
        running.signal(number)
        assert running.end() == 0
        assert {"signal": number.name} in running.logged()
    assert running.event("told-to-end")["signal"] == number.name


def test_other_signals_are_handed_on(world):
    with world.start() as running:
        running.until_said("ready")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
            running.signal(number)
            running.until(lambda name=number.name: {"signal": name} in running.logged())
        assert running.process.poll() is None
        assert "told-to-end" not in running.names


def test_a_second_signal_is_handed_on_too(world):
    world.change(drain_seconds=60)
    world.behave(ignore=True)
    with world.start() as running:
        running.until_said("ready")
        for _ in range(2):
            running.signal(signal.SIGTERM)
            time.sleep(0.2)
        running.until(lambda: running.logged().count({"signal": "SIGTERM"}) == 2)
        assert running.names.count("told-to-end") == 1


def test_while_vllm_is_asked(world):
    """A stop before the server is there is obeyed at once, and nothing is left."""
    servekit.write_package(world.site, {"__init__.py": "import time\ntime.sleep(600)\n"})
    with world.start() as running:
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        running.until(lambda: children.read_text().strip())
        pid = int(children.read_text().split()[0])
        running.signal(signal.SIGTERM)
        assert running.end() == 143
        assert not alive(pid)


def test_zombies_are_reaped(world):
    world.behave(children=5, ready=0.5)
    with world.start() as running:
        running.until_said("ready")
        running.until(lambda: not zombies(running.process.pid))
        running.signal(signal.SIGTERM)
        assert running.end() == 0
    assert running.event("ended")["orphans_reaped"] == 5


def zombies(parent):
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in children if not alive(int(pid))]


def test_what_the_server_leaves_behind_is_ended(world):
    """Engine processes in sessions of their own, deaf to SIGTERM, are ours once their parent is gone."""
    world.behave(orphans=3)
    with world.start() as running:
        running.until_said("ready")
        running.until(lambda: sum("orphan" in entry for entry in running.logged()) == 3)
        orphans = [entry["pid"] for entry in running.logged() if "orphan" in entry]
        assert all(alive(pid) for pid in orphans)
        running.signal(signal.SIGTERM)
        assert running.end() == 0
        assert not any(alive(pid) for pid in orphans)
    assert running.event("ended")["leftovers_killed"] == 3


# What goes wrong before


def test_the_wrong_model(world):
    servekit.write_model(world.model, n_routed_experts=256)
    done = world.run()
    assert done.status == 71
    assert "n_routed_experts is 256, the profile is for 8" in done.err
    assert not world.log.exists()


def test_a_profile_with_a_fault(world):
    world.change(context='"long"')
    done = world.run()
    assert done.status == 70
    assert "serve.context: a whole number from 1 is needed (found 'long')" in done.err


def test_a_program_that_cannot_be_started(world):
    (world.folder / "venv" / "bin" / "vllm").write_text("#!/no/such/interpreter\n")
    done = world.run()
    assert done.status == 75
    assert "cannot be started" in done.err


def test_a_host_that_there_is_not(world):
    done = world.run("--host", "no..host")
    assert done.status == 2
    assert "there is no such host: no..host" in done.err
    assert not world.log.exists()


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "x"], ["--prof", "x"], ["stray"]])
def test_arguments_that_cannot_be_meant(world, arguments):
    assert world.run(*arguments).status == 2


def test_no_place_for_the_health_file(world):
    """It serves all the same, and says so."""
    with world.start(SPARK_HEALTH=str(world.folder / "none" / "health")) as running:
        running.until_said("no-health-file")
        running.until_said("ready")


@pytest.mark.parametrize("how", ["full", "closed"])
def test_nobody_reads_the_events(world, how):
    """Neither a full pipe nor a broken one stops the watchdog."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        world.command(), env=world.environment, stdout=subprocess.DEVNULL, stderr=writer, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while not (world.health.exists() and "serving" in world.health.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if how == "full":
            os.set_blocking(writer, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x" * 4096)
            os.set_blocking(writer, True)
        else:
            os.close(reader)
        servekit.write_meminfo(world.meminfo, LOW)
        assert process.wait(20) == 81
    finally:
        process.kill()
        process.wait()
        os.close(writer)
        if how == "full":
            os.close(reader)
