import contextlib
import socket
import subprocess
import threading

from expkit_mlflow._store.client import Point, Store


def test_each_batch_has_a_connection_of_its_own(tmp_path, server):
    # On a kept connection the answer's second half waits 40 ms for a delayed acknowledgement. A
    # busy machine hides the difference, so this counts connections.
    with CountingProxy(server) as proxy:
        store = Store(proxy.url)
        run = store.create_run(tmp_path.name, "r", {}, 0.0)
        before = proxy.connections
        for step in range(5):
            store.send(run, [Point("loss", 1.0, step, 1000)], {}, {})

        assert proxy.connections - before == 5


class CountingProxy:
    """Forwards every byte to a server, and counts the connections."""

    def __init__(self, server):
        self._target = ("127.0.0.1", int(server.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._target)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    @staticmethod
    def _forward(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_processes_that_create_an_experiment_at_once_share_it(kit, server):
    code = """if True:
        import sys
        from expkit_mlflow._store.client import Store
        store = Store(sys.argv[1])
        store.client
        print("ready", flush=True)
        sys.stdin.readline()
        print(store.experiment_id("race"))
    """
    processes = [kit.python(code, server, stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate() for process in processes]

    assert len({out for out, _ in outputs}) == 1, outputs
    assert all(process.returncode == 0 for process in processes)
