"""Keys for kernel TLS: what the kernel is given, by a fake setsockopt and against its header."""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from c1m.kernel import ktls
from c1m.tls.suites import SUITES

HEADER = Path("/usr/include/linux/tls.h")
NAMES = {0x1301: "aes_gcm_128", 0x1302: "aes_gcm_256", 0x1303: "chacha20_poly1305"}
IV = bytes(range(100, 112))
Call = tuple[int, int, bytes]


class Kernel:
    """A setsockopt that notes its calls, and refuses the one with this number."""

    def __init__(self, refuses: int = -1, code: int = errno.ENOENT) -> None:
        self.calls: list[Call] = []
        self.refuses, self.code = refuses, code

    def __call__(self, fd: int, level: int, name: int, value: bytes) -> None:
        os.fstat(fd)  # is open
        self.calls.append((level, name, value))
        if len(self.calls) - 1 == self.refuses:
            raise OSError(self.code, os.strerror(self.code))


def key_of(suite: int) -> bytes:
    return bytes(range(ktls.LAYOUTS[suite].key_size))


def test_there_is_a_layout_for_each_suite() -> None:
    assert {suite.number: suite.key_size for suite in SUITES} == {
        number: layout.key_size for number, layout in ktls.LAYOUTS.items()
    }


@pytest.mark.parametrize("suite", NAMES)
def test_what_the_kernel_is_given(suite: int) -> None:
    info = ktls.crypto_info(suite, key_of(suite), IV, 0x0102030405)
    version, cipher = struct.unpack_from("=HH", info)
    assert (version, cipher) == (0x0304, {0x1301: 51, 0x1302: 52, 0x1303: 54}[suite])
    salt = 0 if suite == 0x1303 else 4
    assert info[4:] == IV[salt:] + key_of(suite) + IV[:salt] + bytes((0, 0, 0, 1, 2, 3, 4, 5))


@pytest.mark.skipif(
    not HEADER.exists() or shutil.which("gcc") is None, reason="needs gcc and linux/tls.h"
)
def test_layouts_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    """A program that fills the struct by its fields' names writes the same bytes."""
    fills = "".join(
        f"""
        {{ struct tls12_crypto_info_{name} info = {{0}};
          const unsigned char *iv = given; const unsigned char *key = given + 12;
          info.info.version = TLS_1_3_VERSION;
          info.info.cipher_type = TLS_CIPHER_{name.upper()};
          memcpy(info.salt, iv, sizeof info.salt);
          memcpy(info.iv, iv + sizeof info.salt, sizeof info.iv);
          memcpy(info.key, key, sizeof info.key);
          memcpy(info.rec_seq, "\\0\\0\\0\\0\\0\\0\\0\\7", 8);
          fwrite(&info, sizeof info, 1, stdout); }}"""
        for name in ("AES_GCM_128", "AES_GCM_256", "CHACHA20_POLY1305")
    )
    for name in NAMES.values():
        fills = fills.replace(f"tls12_crypto_info_{name.upper()}", f"tls12_crypto_info_{name}")
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <linux/tls.h>\n#include <stdio.h>\n#include <string.h>\n"
        "int main(void) { unsigned char given[44]; fread(given, 44, 1, stdin);"
        + fills
        + f"""
        return !(TLS_TX == {ktls.TLS_TX} && TLS_RX == {ktls.TLS_RX}
            && TLS_SET_RECORD_TYPE == {ktls.SET_RECORD_TYPE}
            && TLS_GET_RECORD_TYPE == {ktls.GET_RECORD_TYPE}); }}"""
    )
    program = tmp_path / "layout"
    subprocess.run(["gcc", "-o", program, source], check=True, timeout=60)
    key = bytes(range(32))
    done = subprocess.run(
        [program], input=IV + key, capture_output=True, check=True, timeout=60
    ).stdout
    ours = [ktls.crypto_info(suite, key[: len(key_of(suite))], IV, 7) for suite in NAMES]
    assert done == b"".join(ours)


def test_a_key_of_a_wrong_size_is_not_given_and_not_shown() -> None:
    key = b"secret" * 5
    with pytest.raises(ValueError, match="size") as caught:
        ktls.crypto_info(0x1301, key, IV, 0)
    assert "secret" not in str(caught.value)


def test_the_order_of_calls() -> None:
    kernel = Kernel()
    with socket.socket() as sock:
        ktls.begin(sock.fileno(), kernel)
        info = ktls.crypto_info(0x1301, key_of(0x1301), IV, 2)
        ktls.give_key(sock.fileno(), ktls.TLS_TX, info, kernel)
        ktls.give_key(sock.fileno(), ktls.TLS_RX, info, kernel)
    assert kernel.calls == [(6, 31, b"tls"), (282, 1, info), (282, 2, info)]


@pytest.mark.parametrize(
    ("refuses", "code", "words"),
    [
        (-1, 0, ""),
        (0, errno.ENOENT, "This kernel has no TLS (No such file or directory)."),
        (1, errno.EINVAL, "This kernel's TLS has no version 1.3 (Invalid argument)."),
        (2, errno.EBUSY, "cannot change keys, which needs Linux 6.14"),
    ],
)
def test_what_a_probe_says(refuses: int, code: int, words: str) -> None:
    kernel = Kernel(refuses, code)
    found = ktls.probe(kernel)
    assert words in found and bool(words) == bool(found)
    assert len(kernel.calls) == (3 if refuses < 0 else refuses + 1)


def test_this_kernel_can_be_asked() -> None:
    found = ktls.probe()
    assert found == "" or found.startswith("This kernel")


def test_on_a_kernel_that_has_it() -> None:
    """What one end seals the other opens, an alert, too."""
    refusal = ktls.probe()
    if refusal:
        pytest.skip(refusal)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as one, listener.accept()[0] as other:
            for sock, way in ((one, ktls.TLS_TX), (other, ktls.TLS_RX)):
                ktls.begin(sock.fileno())
                ktls.give_key(sock.fileno(), way, ktls.crypto_info(0x1301, key_of(0x1301), IV, 0))
            one.sendall(b"hello")
            select.select([other], [], [])
            assert ktls.receive_record(other.fileno(), 99) == (23, b"hello")
            ktls.send_record(one.fileno(), 21, b"\x01\0")
            select.select([other], [], [])
            assert ktls.receive_record(other.fileno(), 99) == (21, b"\x01\0")
