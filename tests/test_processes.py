"""Finding processes again: by program and by what they name."""

import os
import subprocess
import sys
import time

from build import processes


def test_a_process_is_found_by_what_it_names_and_its_end_is_awaited():
    mark = f"mark-{os.getpid()}/"
    program = os.path.basename(sys.executable)
    argv = ["-c", "print(flush=True); input()", mark]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *argv], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as child:
        child.stdout.readline()  # before it runs, the kernel may not know its arguments yet
        while not processes.arguments(child.pid):  # the kernel fills them in a moment after exec
            time.sleep(0.01)
        assert processes.arguments(child.pid)[1:] == argv
        assert processes.naming(mark, programs={program}) == [child.pid]
        assert processes.naming(mark, programs={"another"}) == []
        assert processes.naming(f"{mark}other", programs={program}) == []
        assert processes.wait_for_end([child.pid], 0.1) is False
        child.kill()
        assert processes.wait_for_end([child.pid], 10) is True  # dead, though nobody has reaped it
    assert processes.arguments(child.pid) == []


def test_the_cpu_of_a_process_counts_with_that_of_its_ended_children():
    code = """
import os, subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print(flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 0.25 <= processes.cpu_seconds(child.pid) < 5
        child.kill()
        child.wait()
        assert processes.cpu_seconds(child.pid) == 0.0
