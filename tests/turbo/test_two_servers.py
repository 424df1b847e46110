"""Two servers of their own processes on one folder of states."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from turbo_server import FACT, TURBO, serving
from worker.turbo.serving.folder import Folder

LIMIT = 1_500_000  # bytes: three states, where there are twelve
FLAGS = ("--disk-cache-size", str(LIMIT), "--prompt-cache-size", "1")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("states_are_read_here")]


def prompts(names):
    return [f"{name} . {FACT * 12}the code of anna miller is" for name in names]


def size(folder):
    """Return the bytes of the states that are there whole."""
    found = 0
    for file in folder.glob("*.safetensors"):
        try:
            found += file.stat().st_size
        except FileNotFoundError:
            continue
    return found


def test_both_answer_rightly_keep_to_the_limit_together_and_damage_nothing(tmp_path):
    """Memory keeps one state, so each writes while the other does."""
    both = prompts(["one", "two", "six"])
    own = [prompts(["red", "blue"]), prompts(["green", "black"])]
    sizes, done = [], threading.Event()

    def look():
        while not done.wait(0.01):
            sizes.append(size(tmp_path))

    def ask(server, some):
        return [server.ask(prompt, 4) for _ in range(3) for prompt in some]

    place = ("--disk-cache", str(tmp_path))
    with serving(TURBO, *place, *FLAGS) as one, serving(TURBO, *place, *FLAGS) as other:
        with ThreadPoolExecutor(2) as pool:
            looking = threading.Thread(target=look)
            looking.start()
            try:
                said = list(pool.map(ask, (one, other), (both + own[0], both + own[1])))
            finally:
                done.set()
        looking.join()
    for answers in said:
        assert [status for status, _ in answers] == [200] * len(answers)
        texts = [answer["choices"][0]["text"] for _, answer in answers]
        assert all("four seven two nine" in text for text in texts), texts
    assert 0 < max(sizes) <= LIMIT
    assert size(tmp_path) <= LIMIT
    files = list(tmp_path.iterdir())
    assert all(file.suffix == ".safetensors" for file in files)
    (key,) = {file.name.split("-")[2] for file in files}
    folder = Folder(tmp_path, LIMIT)
    states = list(folder._states(key))
    assert len(states) == len(files) > 1
    assert all(folder.load(state) is not None for state in states)
    assert "skipped" not in "".join([*one.log, *other.log])
