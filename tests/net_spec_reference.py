"""The documented algorithm of Caffe's NetSpec, without checks: slow, obvious.

Tops are visited in the order in which their names were first assigned. A layer comes
after the layers of its bottoms, which are visited in turn, depth first. A blob without
a name is called by the type of its layer and a number, counted by type as layers are
written; a layer that makes none likewise. A layer has the name of its first blob; in
place, its blobs are its bottoms, and the name of its first top is its own alone.

Options that end in `param` are fields of the layer. Others are fields of the message
named like the layer type, or, where that has no such field, of the layer.
"""

import collections

from netspec import schema


def options_field(type_name):
    for field in schema.LayerParameter.DESCRIPTOR.fields:
        message = field.message_type
        if message is not None and message.name == f"{type_name}Parameter":
            return field.name
    return None


def write(message, field, value):
    if field not in message.DESCRIPTOR.fields_by_name:
        raise AttributeError(f"{message.DESCRIPTOR.name}.{field}")
    if hasattr(getattr(message, field), "extend"):  # repeated
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                part = getattr(message, field).add()
                for key in item:
                    write(part, key, item[key])
            else:
                getattr(message, field).append(item)
    elif isinstance(value, dict):
        for key in value:
            write(getattr(message, field), key, value[key])
    else:
        setattr(message, field, value)


class Blob:
    def __init__(self, fn, n):
        self.fn, self.n = fn, n

    def to_proto(self):
        return to_proto(self)


class Call:
    def __init__(self, type_name, inputs, options):
        assert all(isinstance(each, Blob) for each in inputs), inputs
        self.type_name, self.inputs = type_name, inputs
        self.ntop = options.pop("ntop", 1)
        self.in_place = options.pop("in_place", False)
        self.params = options
        self.tops = [Blob(self, n) for n in range(self.ntop)]
        self.fn = self


class Writer:
    def __init__(self, names):
        self.names = names
        self.counts = collections.Counter()
        self.written = []
        self.messages = []

    def message_of(self, call):
        for number, other in enumerate(self.written):
            if other is call:
                return self.messages[number]
        return None

    def name(self, thing):
        for other, name in self.names:
            if other is thing:
                return name
        kind = thing.fn.type_name
        self.counts[kind] += 1
        self.names.append((thing, f"{kind}{self.counts[kind]}"))
        return self.names[-1][1]

    def visit(self, call):
        if self.message_of(call) is not None:
            return
        layer = schema.LayerParameter(type=call.type_name)
        for bottom in call.inputs:
            self.visit(bottom.fn)
            layer.bottom.append(self.message_of(bottom.fn).top[bottom.n])
        if call.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend([self.name(top) for top in call.tops])
        layer.name = self.name(call.tops[0] if call.tops else call)
        own = options_field(call.type_name)
        for option, value in call.params.items():
            try:
                if option.endswith("param") or own is None:
                    raise AttributeError
                write(getattr(layer, own), option, value)
            except AttributeError:
                write(layer, option, value)
        self.written.append(call)
        self.messages.append(layer)

    def net(self, things):
        for thing in things:
            self.visit(thing.fn)
        return schema.NetParameter(layer=self.messages)


def to_proto(*things):
    return Writer([]).net(things)


class NetSpec:
    def __init__(self):
        self.__dict__["tops"] = collections.OrderedDict()

    def __setattr__(self, name, thing):
        self.tops[name] = thing

    __setitem__ = __setattr__

    def __getattr__(self, name):
        return self.tops[name]

    __getitem__ = __getattr__

    def __delitem__(self, name):
        del self.tops[name]

    def keys(self):
        return list(self.tops.keys())

    def vals(self):
        return list(self.tops.values())

    def update(self, name, options):
        self.tops[name].fn.params.update(options)

    def to_proto(self):
        named = [(thing, name) for name, thing in self.tops.items()]
        return Writer(named[::-1]).net(self.tops.values())  # the last name counts


class Layers:
    def __getattr__(self, type_name):
        if type_name.startswith("__"):
            raise AttributeError(type_name)

        def layer(*inputs, **options):
            call = Call(type_name, inputs, options)
            if call.ntop == 0:
                return call
            return call.tops[0] if call.ntop == 1 else tuple(call.tops)

        return layer


class Params:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(schema, f"{name}Parameter")


layers, params = Layers(), Params()
