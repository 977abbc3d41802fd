"""A host of OPA's WebAssembly ABI 1.3, as its documentation describes it, on PyPI's wasmtime.

in:  a module's bytes; host builtins as Python functions over JSON values.
out: class Host. `Abort` is what the module said through opa_abort.
owns: store, memory and instance of one module.
"""
import json

from wasmtime import Engine, Func, FuncType, Global, Instance, Limits, Memory, MemoryType, Module, Store, ValType

I32 = ValType.i32
PAGE = 65536
ENGINE = Engine()
FUNCTIONS = {"opa_abort": (1, 0), "opa_println": (1, 0), "opa_builtin0": (2, 1), "opa_builtin1": (3, 1), "opa_builtin2": (4, 1),
             "opa_builtin3": (5, 1), "opa_builtin4": (6, 1)}
JSON, VALUE = 0, 1


class Abort(Exception):
    pass


class Host:
    def __init__(self, module, builtins=None, pages=None):
        """`builtins`: name → function of JSON values giving JSON text, or None for undefined. `pages`: memory at the start."""
        self.module = Module(ENGINE, module)
        self.store = Store(ENGINE)
        self.mocks, self.calls, self.printed = builtins or {}, [], []
        self.memory = Memory(self.store, MemoryType(Limits(pages or self.wanted_pages(), None)))
        self.instance = Instance(self.store, self.module, [self.offer(i) for i in self.module.imports])
        self.exports = self.instance.exports(self.store)
        self.ids = {number: name for name, number in self.mapping("builtins").items()}
        self.call("opa_malloc", 0)
        self.initial = self.heap = self.call("opa_heap_ptr_get")
        self.data = 0

    def wanted_pages(self):
        return next(i.type.limits.min for i in self.module.imports if i.name == "memory")

    def offer(self, item):
        if item.module != "env":
            raise LookupError(f"import {item.module}.{item.name}")
        if item.name == "memory":
            return self.memory
        params, results = FUNCTIONS[item.name]
        return Func(self.store, FuncType([I32()] * params, [I32()] * results), getattr(self, "on_" + item.name.rstrip("01234")))

    # ---- what the module calls ----

    def on_opa_abort(self, address):
        raise Abort(self.text(address))

    def on_opa_println(self, address):
        self.printed.append(self.text(address))

    def on_opa_builtin(self, number, _ctx, *arguments):
        name = self.ids[number]
        values = [json.loads(self.dump(a)) for a in arguments]
        self.calls.append((name, values))
        result = self.mocks[name](*values)
        return 0 if result is None else self.parse(result, rego=True)

    # ---- what the host calls ----

    def call(self, name, *arguments):
        return self.exports[name](self.store, *arguments)

    def text(self, address):
        """The 0-terminated text at an address."""
        size = self.memory.data_len(self.store)
        end, step = address, 4096
        found = b""
        while b"\0" not in found and end < size:
            found += bytes(self.memory.read(self.store, end, min(end + step, size)))
            end += step
        return found[:found.index(b"\0")].decode()

    def write(self, address, content):
        missing = address + len(content) - self.memory.data_len(self.store)
        if missing > 0:
            self.memory.grow(self.store, (missing + PAGE - 1) // PAGE)
        self.memory.write(self.store, content, address)

    def parse(self, text, rego=False):
        """Address of the value, 0 if the text is none; the text is freed again, as the documentation asks."""
        content = text.encode()
        address = self.call("opa_malloc", len(content))
        self.write(address, content)
        value = self.call("opa_value_parse" if rego else "opa_json_parse", address, len(content))
        self.call("opa_free", address)
        return value

    def dump(self, value, rego=False):
        address = self.call("opa_value_dump" if rego else "opa_json_dump", value)
        text = self.text(address)
        self.call("opa_free", address)
        return text

    def mapping(self, name):
        return json.loads(self.dump(self.call(name)))

    def constant(self, name):
        item = self.exports[name]
        return item.value(self.store) if isinstance(item, Global) else None

    # ---- data ----

    def load_data(self, text):
        self.data = self.parse(text)
        self.call("opa_heap_blocks_stash")
        self.heap = self.call("opa_heap_ptr_get")

    def update_data(self, path, text=None):
        """Sets the value at the path, or removes it (no text); the code of the call."""
        self.call("opa_heap_ptr_set", self.heap)
        self.call("opa_heap_blocks_restore")
        where = self.parse(json.dumps(path))
        if text is None:
            code = self.call("opa_value_remove_path", self.data, where)
        else:
            code = self.call("opa_value_add_path", self.data, where, self.parse(text))
        self.call("opa_value_free", where)
        self.call("opa_heap_blocks_stash")
        self.heap = self.call("opa_heap_ptr_get")
        return code

    def forget_data(self):
        self.call("opa_heap_stash_clear")
        self.call("opa_heap_ptr_set", self.initial)
        self.heap, self.data = self.initial, 0

    # ---- evaluation ----

    def eval_once(self, input_, entrypoint=0, form=JSON):
        """opa_eval: the input lies at the heap pointer, the heap goes on after it. Text of the result set."""
        content = (input_ or "").encode()
        self.write(self.heap, content)
        after = (self.heap + len(content) + 7) & ~7
        return self.text(self.call("opa_eval", 0, entrypoint, self.data, self.heap, len(content), after, form))

    def eval_context(self, input_, entrypoint=None, rego=False):
        """A context, eval and its result. Text of the result set."""
        self.call("opa_heap_ptr_set", self.heap)
        ctx = self.call("opa_eval_ctx_new")
        if input_ is not None:
            self.call("opa_eval_ctx_set_input", ctx, self.parse(input_))
        if self.data:
            self.call("opa_eval_ctx_set_data", ctx, self.data)
        if entrypoint is not None:
            self.call("opa_eval_ctx_set_entrypoint", ctx, entrypoint)
        self.call("eval", ctx)
        return self.dump(self.call("opa_eval_ctx_get_result", ctx), rego)
