#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sluicectl chat at a terminal: editing, Ctrl-C at the prompt and in an answer, history, Ctrl-D.

Usage: sluicectl_chat.py        with a pipeline up and sluicectl in PATH

Exit status 0 if all went as it should; else one line on stderr says what did not.
"""
import os
import pty
import select
import signal
import sys
import time


class Chat:
    def __init__(self):
        self.output = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execvp("sluicectl", ["sluicectl", "chat", "--tokens", "120"])

    def read(self, seconds):
        """What comes within so many seconds; None at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return ""
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return None
        return data.decode(errors="replace") if data else None

    def expect(self, what, condition, seconds=60):
        """Read until condition(text since the last expect) holds."""
        text, deadline = "", time.monotonic() + seconds
        while not condition(text):
            piece = self.read(0.2)
            if piece is None:
                sys.exit(f"sluicectl chat: it ended before {what}; it said: {text!r}")
            if time.monotonic() > deadline:
                sys.exit(f"sluicectl chat: no {what} in {seconds} s; it said: {text!r}")
            text += piece
        return text

    def expect_end(self, seconds):
        """Read until the end; True if it does not come in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.read(0.2) is None:
                return False
        return True

    def type(self, text):
        # The prompt comes a moment before the editor takes the terminal over: what is typed in
        # between is echoed twice, and a Ctrl-C in between drops it.
        time.sleep(0.5)
        os.write(self.fd, text.encode())

    def answer(self, what):
        return self.expect(what, lambda t: t.rstrip(" ").endswith("\n>") and t.count("\n") >= 2)


def main():
    chat = Chat()
    chat.expect("prompt", lambda t: t.endswith("> "))
    chat.type("this line is given up\x03")
    chat.expect("new prompt after Ctrl-C", lambda t: t.count(">") >= 1 and t.endswith("> "))
    chat.type("What is the capital of France?\n")
    first = chat.answer("answer")
    if len(first.split("\n", 1)[1].strip("> \r\n")) < 2:
        sys.exit(f"sluicectl chat: an empty answer after a Ctrl-C at the prompt: {first!r}")
    chat.type("And of Germany?\n")
    second = chat.answer("second answer")
    if "Berlin" not in second:   # a capital is only known from the first question
        sys.exit(f"sluicectl chat: the conversation was forgotten: {second!r}")
    question = "Tell me a very long story about a dragon."
    chat.type(question + "\n")
    chat.expect("begin of the story", lambda t: len(t.replace(question, "").strip()) > 40)
    begun = time.monotonic()
    os.write(chat.fd, b"\x03")
    chat.expect("prompt after Ctrl-C in an answer", lambda t: t.rstrip(" ").endswith("\n>"))
    if time.monotonic() - begun > 10:
        sys.exit("sluicectl chat: Ctrl-C took more than ten seconds")
    chat.type("\x10")           # Ctrl-P: the history
    chat.expect("history", lambda t: "dragon" in t, 10)
    chat.type("\x03")
    chat.expect("prompt", lambda t: t.endswith("> "))
    chat.type("\x04")
    if chat.expect_end(10):
        os.kill(chat.pid, signal.SIGKILL)
        sys.exit("sluicectl chat: Ctrl-D does not end it")
    status = os.waitstatus_to_exitcode(os.waitpid(chat.pid, 0)[1])
    if status:
        sys.exit(f"sluicectl chat: Ctrl-D ended it with status {status}")


main()
