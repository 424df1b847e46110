"""An error of every library that is called in work for one host."""

from __future__ import annotations

import asyncio
import binascii
import json
import socket
import subprocess
import tarfile

import paramiko
import psutil
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from paramiko.hostkeys import InvalidHostKey
from pydantic import ValidationError
from ray.exceptions import ActorDiedError, RaySystemError

from farm.errors import FarmError, HostError, HostRefusedError
from worker.job import Job


def validation_error():
    try:
        Job.model_validate({})
    except ValidationError as error:
        return error
    return None


ERRORS = [
    paramiko.SSHException("Channel closed"),
    paramiko.ChannelException(2, "Connect failed"),
    paramiko.AuthenticationException(),
    paramiko.BadAuthenticationType("", ["password"]),
    paramiko.PasswordRequiredException("locked"),
    paramiko.ssh_exception.NoValidConnectionsError({("10.0.0.1", 22): OSError(113, "no route")}),
    InvalidHostKey("10.77.0.11 ssh-ed25519 AAAA%%", ValueError("padding")),
    paramiko.pkey.UnknownKeyType("sk", b""),
    UnsupportedAlgorithm("sk-ssh-ed25519"),
    InvalidSignature(),
    ActorDiedError(),
    RaySystemError("gone"),
    validation_error(),
    EOFError(),
    OSError(28, "No space left on device"),
    BrokenPipeError(),
    ConnectionResetError(),
    PermissionError(13, "denied"),
    TimeoutError("late"),
    socket.gaierror(8, "nodename nor servname provided"),
    UnicodeError("label empty or too long"),
    UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte"),
    json.JSONDecodeError("Expecting value", "Welcome", 0),
    binascii.Error("padding"),
    tarfile.ReadError("unexpected end of data"),
    subprocess.TimeoutExpired(["ssh"], 20),
    subprocess.CalledProcessError(1, ["pip"]),
    psutil.NoSuchProcess(1),
    asyncio.IncompleteReadError(b"", 10),
    asyncio.LimitOverrunError("too long", 1),
    ExceptionGroup("several", [ValueError("one")]),
    RecursionError(),
    MemoryError(),
    KeyError("python"),
    IndexError(),
    AttributeError("no such thing"),
    TypeError("extractall() got an unexpected keyword argument 'filter'"),
    RuntimeError(),
    NotImplementedError(),
    FarmError("Ray's head did not start"),
    HostError("host 'a': gone"),
    HostRefusedError("host 'a': refused"),
]
