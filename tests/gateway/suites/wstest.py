"""Autobahn's WebSocket suite on Python 2.7, with addresses of the test's own choice.

wstest.py echo ADDRESS PORT...        its echo server, at these ports (the Host of a request must name the same port)
wstest.py judge ADDRESS SPEC          its fuzzing client; every name in the SPEC's URL leads to ADDRESS
"""
import json
import sys

from twisted.internet import epollreactor

epollreactor.install()
from twisted.internet import reactor


def echo(address, ports):
    from autobahntestsuite.echo import EchoServerFactory
    for port in ports:
        reactor.listenTCP(int(port), EchoServerFactory("ws://localhost:" + port), interface=address)
    reactor.run()


def leads_to_it(way, address):
    connect = getattr(reactor, way)
    setattr(reactor, way, lambda host, *rest, **named: connect(address, *rest, **named))


def judge(address, spec):
    from autobahntestsuite.fuzzing import FuzzingClientFactory
    for way in ("connectTCP", "connectSSL"):
        leads_to_it(way, address)
    with open(spec) as text:
        # The factory connects by itself, and stops the reactor after the last case.
        FuzzingClientFactory(json.load(text), False)
    reactor.run()


if __name__ == "__main__":
    {"echo": lambda: echo(sys.argv[2], sys.argv[3:]), "judge": lambda: judge(*sys.argv[2:4])}[sys.argv[1]]()
