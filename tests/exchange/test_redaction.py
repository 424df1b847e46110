"""What is sent to others tells no names, addresses or numbers, and all facts as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.exchange.redaction import Redaction
from worker.machine.environment.bundle import Bundle, replay
from worker.machine.environment.source import Output

BUNDLES = sorted((Path(__file__).parents[1] / "golden" / "bundles").glob("*.json"))
NAMES = {"user": ["jdoe", "Jane Doe"], "host": ["Janes-MacBook-Pro", "Janes-MacBook-Pro.local"]}
#: What a Mac's own commands say of its owner, by the command; made up.
TOLD = {
    "system_profiler -json SPHardwareDataType SPDisplaysDataType": (
        ', "serial_number" : "C02XG0FDJG5H"'
        ', "platform_UUID" : "0A1B2C3D-1111-2222-3333-44445555666F"'
        ', "provisioning_UDID" : "00006041-001A2B3C4D5E6F70", "_spdisplays_edid" : "00ffff0610aa"'
        ', "spdisplays_display-serial-number" : "WX99"}'
    ),
    "pmset -g assertions": (
        '   pid 99(sshd): named: "Remote user is connected: jdoe@10.1.2.3"\n'
        '   pid 98(Backup): named: "/Volumes/Jane Disk/photos"\n'
    ),
    "tmutil status": '    DestinationMountPoint = "/Volumes/Jane Disk";\n',
    "ps -A -c -o pid,pcpu,pri,comm": "  612   0.0  31 jdoe-helper\n",
    "launchctl print system/org.turbofarm.worker": (
        "\tpath = /Users/jdoe/Library/x\n"
        "\tfe80::1c2d:3eff:fe4f:5a6b 3c:22:fb:10:20:30 jane@doe.org\n"
    ),
    "sw_vers": "Janes-MacBook-Pro.local\n",
}
SECRETS = (
    *("jdoe", "Jane", "C02XG0FDJG5H", "0A1B2C3D", "00006041", "00ffff0610aa", "WX99"),
    *("10.1.2.3", "fe80::1c2d", "3c:22:fb", "doe.org", "Janes-MacBook", "7143523", "24313955"),
)


def told(bundle: Bundle) -> Bundle:
    """Return a bundle in which every command also says whose machine it is."""
    outputs = dict(bundle.outputs)
    for command, words in TOLD.items():
        text = outputs.get(command, Output()).text
        joined = text.removesuffix("}") + words if command.startswith("system_p") else text + words
        outputs[command] = Output(joined)
    return bundle.model_copy(update={"outputs": outputs})


def test_several_hosts_stay_several_and_words_of_a_record_stay():
    names = {
        "host 1": ["annas-desk", "10.1.2.3"],
        "host 2": ["bobs-desk"],
        "user": ["decode", "ok"],
    }
    text = '{"status": "ok", "benchmark": "decode", "host": "annas-desk", "other": "bobs-desk"}'
    assert Redaction(names).text(text) == (
        '{"status": "ok", "benchmark": "decode", "host": "<host 1>", "other": "<host 2>"}'
    )


def redacted(bundle: Bundle) -> Bundle:
    return Bundle.model_validate(Redaction(NAMES).document(bundle.model_dump(mode="json")))


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_a_redacted_bundle_tells_every_fact_as_before(path):
    bundle = Bundle.model_validate(json.loads(path.read_text())["bundle"])
    assert replay(redacted(bundle)).facts == replay(bundle).facts


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_nothing_of_the_owner_is_left(path):
    bundle = told(Bundle.model_validate(json.loads(path.read_text())["bundle"]))
    text = redacted(bundle).model_dump_json()
    assert [secret for secret in SECRETS if secret in text] == []
    for words in ("Apple M", "Mac1", "Currently in use", "Pages free"):
        assert (words in text) == (words in bundle.model_dump_json())


@pytest.mark.parametrize(
    "text",
    [
        'IOPlatformSerialNumber" = "C02XG0FDJG5H"',
        "Serial Number (system): C02XG0FDJG5H",
        "Hardware UUID: 0A1B2C3D-1111-2222-3333-44445555666F",
        " -InternalBattery-0 (id=24313955)\t27%; discharging; 3:32 remaining",
        'File "/Users/jdoe/farm/worker/run.py", line 3',
        "/home/jdoe/.turbofarm/environments",
        "inet 192.168.7.20 netmask 0xffffff00",
        "ether 3c:22:fb:10:20:30",
        "jane@doe.org",
        "owner: Jane Doe",
    ],
)
def test_a_line_that_names_somebody_no_longer_does(text):
    found = Redaction(NAMES).text(text)
    assert "<" in found
    assert not any(secret in found for secret in SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        "macOS 26.5.2, mlx 0.32.4, Python 3.12.9, 10:31:07 +0200, 3:32 remaining",
        "Apple M5 Max, Mac mini, root, localhost, 127.0.0.1",
        "version 1.2.3, ratio 0.97, [0x00001] 00:00:09 PreventUserIdleSystemSleep",
        "Pages free:                   1000.",
    ],
)
def test_what_every_machine_says_stays(text):
    assert Redaction({"user": ["root", "max"], "host": ["Mac", "localhost"]}).text(text) == text


@given(st.text(min_size=3, max_size=12, alphabet=st.characters(codec="ascii", categories=["L"])))
def test_a_name_is_found_wherever_it_stands_alone(name):
    found = Redaction({"user": [f"q{name}"]}).text(f"(q{name}) /x/q{name}/y q{name}.local")
    assert f"q{name}" not in found
