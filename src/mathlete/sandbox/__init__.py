r"""Run model-written Python: fast, stateful, and closed off from the machine.

```python
async with Sandbox() as sandbox, sandbox.session(seed=1) as session:
    print((await session.run("x = 6 * 7\nx")).text)
```
"""

from mathlete.sandbox.execution import Execution, Limits
from mathlete.sandbox.host import Sandbox, Session
from mathlete.sandbox.layers import Layer, probe

__all__ = ["Execution", "Layer", "Limits", "Sandbox", "Session", "probe"]
