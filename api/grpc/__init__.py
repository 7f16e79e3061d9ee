"""The Open Inference Protocol (V2) over gRPC, and gRPC's health check: the extra `grpc`.

Nothing here is imported without `--grpc-port`. The modules `*_pb2` are made of the `.proto` files:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. open_inference.proto health.proto

by the protoc of grpcio-tools 1.62: what later ones make refuses every protobuf older than theirs.
"""
