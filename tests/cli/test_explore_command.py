"""`cxrcausal explore` serves until it is interrupted."""

import http.client
import json
import re
import signal
import subprocess
import sys


def test_it_serves_phantoms_until_it_is_interrupted():
    code = (  # a shell that started the tests in the background has its children ignore Ctrl-C
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from cxrcausal.cli import main; sys.exit(main())"
    )
    ask = [sys.executable, "-u", "-c", code, "explore", "--model", "phantom", "--port", "0"]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/api/describe")
            assert json.loads(connection.getresponse().read())["model"] == "phantom"
            connection.close()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "ended" in rest
    assert process.returncode == 0
