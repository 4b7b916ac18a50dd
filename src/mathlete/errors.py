"""Every error mathlete raises on purpose.

```
MathleteError
├── UsageError            the caller's input or configuration is wrong: nothing was done
│   ├── ProblemError      a problem set cannot be read
│   └── RunMismatchError  a run folder holds results of another configuration
├── EngineError           the model server
│   ├── EngineUnreachable nothing answers at that address, or it stopped answering
│   ├── ModelMissing      the server (or the disk) does not have that model
│   ├── RequestRejected   the server refuses this request, and would refuse it again
│   └── ContextTooLong    the prompt does not fit the model: ends one trace, not the job
├── SandboxError          the sandbox cannot be started, or not as strictly as required
└── StoreError            a run cannot be written or read (a full disk, a damaged file)
```

A message is one line: the value, the rule, the remedy. The command line prints it and exits
with code 2. A failed *sample* is not an error: its trace says what failed.
"""


class MathleteError(Exception):
    """The root: whatever is wrong, the message says what to do about it."""


class UsageError(MathleteError):
    """The input or the configuration is wrong; nothing was started."""


class ProblemError(UsageError):
    """A problem set cannot be read as it stands."""


class RunMismatchError(UsageError):
    """A run folder holds results of another configuration."""


class EngineError(MathleteError):
    """The model server failed in a way that concerns more than one request."""


class EngineUnreachable(EngineError):
    """Nothing answers at the engine's address, or it stopped answering for good."""


class ModelMissing(EngineError):
    """The server, or the disk, does not have the model that was asked for."""


class RequestRejected(EngineError):
    """The server understood the request and refuses it; asking again would not help."""


class ContextTooLong(EngineError):
    """Prompt plus completion do not fit the model's context: ends one trace, not the job."""


class SandboxError(MathleteError):
    """The sandbox cannot be started, or not with the layers that were required."""


class StoreError(MathleteError):
    """A run folder cannot be written or read."""
