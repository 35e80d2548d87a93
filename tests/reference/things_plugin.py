#!/usr/bin/env python3
"""A Pulumi provider plugin as a program of its own: things kept in a JSON file that its configuration names.

It takes secrets, previews, fills in outputs, has a function, and fails to initialise what is called broken.
"""

import json
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

SIGNATURE = "4dabf18193072939515e22adb298388d"


def plain(value):
    if isinstance(value, struct_pb2.Struct):
        value = {key: plain_value(item) for key, item in value.fields.items()}
    return value


def plain_value(value):
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        inner = plain(value.struct_value)
        return inner.get("value") if SIGNATURE in inner else inner
    if kind == "list_value":
        return [plain_value(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


def struct(values):
    found = struct_pb2.Struct()
    found.update(values)
    return found


class Things(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self):
        self.path = None
        self.lock = threading.Lock()

    def _things(self, change=None):
        with self.lock:
            things = json.loads(self.path.read_text()) if self.path.exists() else {}
            if change is not None:
                change(things)
                self.path.write_text(json.dumps(things))
            return things

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse()

    def Configure(self, request, context):
        self.path = Path(plain(request.args).get("file", "/nowhere"))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request, context):
        news = plain(request.news)
        if "size" not in news:
            failure = provider_pb2.CheckFailure(property="size", reason="it has no size")
            return provider_pb2.CheckResponse(failures=[failure])
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        old, new = plain(request.old_inputs), plain(request.news)
        changed = [key for key in {*old, *new} if old.get(key) != new.get(key)]
        kind = provider_pb2.PropertyDiff.Kind
        detailed = {
            key: provider_pb2.PropertyDiff(kind=kind.UPDATE_REPLACE if key == "kind" else kind.UPDATE)
            for key in changed
        }
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=some if changed else none, detailedDiff=detailed)

    def Create(self, request, context):
        inputs = plain(request.properties)
        made = f"thing-{request.urn.rpartition('::')[2]}"
        outputs = struct({**inputs, "label": f"{made}/{inputs.get('kind', '')}"})
        if request.preview:
            return provider_pb2.CreateResponse(properties=outputs)
        self._things(lambda things: things.update({made: inputs}))
        if inputs.get("kind") == "broken":
            detail = any_pb2.Any()
            detail.Pack(
                provider_pb2.ErrorResourceInitFailed(id=made, properties=outputs, reasons=["it is broken"])
            )
            status = status_pb2.Status(code=2, message="it is broken", details=[detail])
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            context.abort(grpc.StatusCode.UNKNOWN, "it is broken")
        return provider_pb2.CreateResponse(id=made, properties=outputs)

    def Update(self, request, context):
        inputs = plain(request.news)
        outputs = struct({**inputs, "label": f"{request.id}/{inputs.get('kind', '')}"})
        if not request.preview:
            self._things(lambda things: things.update({request.id: inputs}))
        return provider_pb2.UpdateResponse(properties=outputs)

    def Delete(self, request, context):
        self._things(lambda things: things.pop(request.id))
        return empty_pb2.Empty()

    def Read(self, request, context):
        there = self._things().get(request.id)
        if there is None:
            return provider_pb2.ReadResponse()
        outputs = struct({**there, "label": f"{request.id}/{there.get('kind', '')}"})
        return provider_pb2.ReadResponse(id=request.id, properties=outputs, inputs=struct(there))

    def Invoke(self, request, context):
        answer = provider_pb2.InvokeResponse()
        getattr(answer, "return").CopyFrom(struct({"doubled": plain(request.args)["number"] * 2}))
        return answer

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.2.3")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Things(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


main()
