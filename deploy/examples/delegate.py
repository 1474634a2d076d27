#!/usr/bin/env python3
"""Submits a delegation to Calgrant and watches it, without generated code: the messages come by server reflection.

    pip install -r requirements.txt
    ./delegate.py --api 127.0.0.1:7101 --tenant uni --group staff@uni.example --trustee timetable-delegates@uni.example

Exit code 0: every mailbox has the right; 3: some have not; 4: the operation failed; 2: refused, with every field at fault.
"""

import argparse
import sys
import uuid

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

SERVICE = "calgrant.provisioning.v1.ProvisioningService"


class Service:
    """The methods of a gRPC service, as its server describes them."""

    def __init__(self, channel, name):
        self.channel = channel
        self.descriptor = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(name)

    def call(self, method, **fields):
        """Calls a method with a request of these fields."""
        method = self.descriptor.methods_by_name[method]
        request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(
            f"/{self.descriptor.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request(**fields), metadata=[("calgrant-caller", "example.py")])

    def word(self, enum, prefix, number):
        """The word of an enumeration's value: `added` for OUTCOME_ADDED."""
        name = self.descriptor.file.enum_types_by_name[enum].values_by_number[number].name
        return name.removeprefix(prefix).lower()


def outcomes(service, operation):
    return {service.word("Outcome", "OUTCOME_", count.outcome): count.count for count in operation.counts.outcomes}


def run(args):
    service = Service(grpc.insecure_channel(args.api), SERVICE)
    online = service.descriptor.file.enum_types_by_name["SiteKind"].values_by_name["SITE_KIND_ONLINE"].number
    spec = {
        "tenant": args.tenant,
        "selector": {"group": args.group},
        "trustees": [{"site": online, "address": args.trustee}],
        "role": args.role,
    }
    # The same request_id again gives the same operation: a repeat after a broken connection is harmless.
    request_id = args.request_id or str(uuid.uuid4())
    operation = service.call("RunDelegation", spec=spec, request_id=request_id, validate_only=args.plan)
    print(f"accepted {operation.id}")

    seen = 0
    for change in service.call("WatchOperation", id=operation.id, after_sequence=seen):
        operation, seen = change.operation, change.operation.sequence
        done = operation.counts.accepted - operation.counts.outstanding
        print(f"{done}/{operation.counts.accepted} {outcomes(service, operation)}")
    state = service.word("OperationState", "OPERATION_STATE_", operation.state)
    print(f"{operation.id} is {state}: {outcomes(service, operation)}")
    if state != "done":
        print(f"{operation.failure}: {operation.failure_text}", file=sys.stderr)
        return 4
    bad = {"refused", "failed", "cancelled", "unconfirmed"} & outcomes(service, operation).keys()
    return 3 if bad else 0


def explain(error):
    """Says which field is at fault, from the google.rpc details of a refusal."""
    print(f"{error.code().name}: {error.details()}", file=sys.stderr)
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            for violation in bad.field_violations:
                print(f"  {violation.field}: {violation.description}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api", default="127.0.0.1:7101")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--trustee", required=True)
    parser.add_argument("--role", default="Author")
    parser.add_argument("--request-id")
    parser.add_argument("--plan", action="store_true", help="only find out what would be done")
    try:
        return run(parser.parse_args())
    except grpc.RpcError as error:
        explain(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
