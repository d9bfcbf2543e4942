"""testssl.sh, sslscan and sslyze against what our servers do by default.

No finding is taken but those that are listed here, each with its reason.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from certificates import ECDSA, RSA

from .. import obtaining
from ..obtaining import CannotBeHad
from .cases import SCANNER, Case
from .stage import Failed, Stage

PATIENCE_S = 900

OURS = "the certificate is made for this run, by an authority that nobody knows"
TESTSSL = {
    "engine_problem": "of testssl's own openssl",
    "cert_chain_of_trust": OURS,
    "cert_trust": OURS,
    "cert_expirationStatus": OURS,
    "cert_notAfter": OURS,
    "cert_revocation": OURS,
    "cert_keySize": OURS,
    "cert_ocspRevoked": OURS,
    "cert_crlRevoked": OURS,
    "DNS_CAArecord": "localhost has no such record",
    "HSTS": "what a whole host does is said by who runs it",
    "security_headers": "the page scanned is a 404",
    "BREACH": "a page that is not there; nothing is compressed",
}
SSLYZE = {
    "certificate_path_validation": OURS,
    "maximum_certificate_lifespan": OURS,
    "ocsp_stapling": OURS,
    "tls_curves": "Python's ssl names one group or takes OpenSSL's: X448 and secp521r1 are strong",
    "certificate_types": "Mozilla would have ECDSA and RSA at once",
}


def version() -> str:
    """Of those that are here."""
    found = []
    if shutil.which("sslscan"):
        said = subprocess.run(["sslscan", "--version"], capture_output=True, text=True).stdout
        found.append(f"sslscan {re.sub(chr(27) + '[^m]*m', '', said).split()[0]}")
    if _testssl():
        done = subprocess.run([str(_testssl()), "--version"], capture_output=True, text=True)
        found += [
            " ".join(line.split()[:2]) for line in done.stdout.splitlines() if "testssl" in line
        ][:1]
    return ", ".join(found)


def _testssl() -> str | None:
    return shutil.which("testssl") or shutil.which("testssl.sh")


def _run(command: list[object]) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout + done.stderr


def testssl(stage: Stage, kind: str) -> str:
    """All of its checks, those of HTTP among them."""
    program = _testssl()
    if program is None:
        raise CannotBeHad("testssl.sh is not installed; try: apt-get install testssl.sh")
    report = stage.where / f"testssl-{kind}.json"
    report.unlink(missing_ok=True)
    port = stage.serve("push", kind=kind)
    command = [program, "--quiet", "--color", 0, "--warnings", "batch", "--nodns", "none"]
    command += ["--connect-timeout", 20, "--openssl-timeout", 20, "--jsonfile", report]
    said = _run([*command, f"127.0.0.1:{port}"])
    if not report.exists():
        raise Failed(said[-1500:])
    found = json.loads(report.read_text())
    wrong = [
        f"{each['id']}: {each['severity']}, {each['finding']}"
        for each in found
        if each["severity"] not in ("OK", "INFO") and each["id"].split()[0] not in TESTSSL
    ]
    if wrong or len(found) < 100:
        raise Failed("; ".join(wrong) or f"it has only {len(found)} lines: {said[-1500:]}")
    expected = sorted({e["id"] for e in found if e["severity"] not in ("OK", "INFO")})
    return f"{len(found)} lines; expected: {', '.join(expected)}"


def sslscan(stage: Stage, kind: str) -> str:
    """Versions, ciphers, renegotiation, compression, Heartbleed."""
    if shutil.which("sslscan") is None:
        raise CannotBeHad("sslscan is not installed; try: apt-get install sslscan")
    port, report = stage.serve(kind=kind), stage.where / f"sslscan-{kind}.xml"
    said = _run(["sslscan", f"--xml={report}", f"127.0.0.1:{port}"])
    root = ElementTree.parse(report).getroot() if report.exists() else None
    if root is None:
        raise Failed(said[-1500:])
    spoken = {
        f"{each.get('type')} {each.get('version')}"
        for each in root.iter("protocol")
        if each.get("enabled") == "1"
    }
    wrong = [f"it speaks {name}" for name in spoken - {"tls 1.2", "tls 1.3"}]
    ciphers = [each.get("cipher", "") for each in root.iter("cipher")]
    wrong += [f"cipher {name}" for name in ciphers if not _is_good(name)]
    for name, attribute in (("heartbleed", "vulnerable"), ("compression", "supported")):
        wrong += [name for each in root.iter(name) if each.get(attribute) == "1"]
    wrong += ["no fallback SCSV" for e in root.iter("fallback") if e.get("supported") != "1"]
    wrong += [
        "renegotiation"
        for e in root.iter("renegotiation")
        if e.get("secure") == "0" and e.get("supported") == "1"
    ]
    if wrong or len(ciphers) < 6:
        raise Failed("; ".join(wrong) or f"only {ciphers} were found: {said[-1500:]}")
    return f"{', '.join(sorted(spoken))}; {len(ciphers)} ciphers"


def _is_good(cipher: str) -> bool:
    return cipher.startswith(("TLS_", "ECDHE-")) and ("GCM" in cipher or "POLY1305" in cipher)


def sslyze(stage: Stage, kind: str) -> str:
    """Its checks, and Mozilla's intermediate configuration."""
    port, report = stage.serve(kind=kind), stage.where / f"sslyze-{kind}.json"
    said = _run([_sslyze(), "-m", "sslyze", f"--json_out={report}", f"127.0.0.1:{port}"])
    if "COMPLIANCE" not in said:
        raise Failed(said[-1500:])
    found = re.findall(r"^ +\* (\w+): (.*)$", said.split("COMPLIANCE")[1], re.MULTILINE)
    wrong = [f"{name}: {text}" for name, text in found if name not in SSLYZE]
    result = json.loads(report.read_text())["server_scan_results"][0]["scan_result"]
    for check, value in (
        ("heartbleed", "is_vulnerable_to_heartbleed"),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"),
        ("tls_compression", "supports_compression"),
    ):
        if result[check]["result"][value] is not False:
            wrong.append(f"{check}: {value}")
    if "NOT_VULNERABLE" not in result["robot"]["result"]["robot_result"]:
        wrong.append(f"robot: {result['robot']['result']}")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"expected: {', '.join(sorted({name for name, _ in found}))}"


def _sslyze() -> Path:
    """The interpreter of an environment with sslyze, which needs other versions than ours."""
    where = obtaining.BUILD / "sslyze"
    python = where / "bin" / "python"
    if not (where / ".installed").exists():
        shutil.rmtree(where, ignore_errors=True)
        base = getattr(sys, "_base_executable", "") or sys.executable
        for command in (
            [base, "-m", "venv", "--without-pip", where],
            [base, "-m", "pip", "--python", python, "-q", "install", "sslyze"],
        ):
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S
            )
            if done.returncode != 0:
                raise CannotBeHad(f"sslyze could not be installed: {done.stderr[-800:]}")
        (where / ".installed").touch()
    return python


def cases() -> list[Case]:
    """All of them, with either kind of certificate."""

    def case(kind: str, name: str) -> Case:
        function = {"testssl.sh": testssl, "sslscan": sslscan, "sslyze": sslyze}[name]
        return Case(name, SCANNER, f"{kind.upper()} certificate", lambda s: function(s, kind))

    return [
        case(kind, name) for name in ("sslscan", "sslyze", "testssl.sh") for kind in (ECDSA, RSA)
    ]
