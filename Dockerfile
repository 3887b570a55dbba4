# The package and its shipped models:
#   docker build -t cxrcausal . && docker run --rm -v "$PWD:/work" cxrcausal demo
# PyTorch's default Linux build brings CUDA; for the small CPU build give its index:
#   docker build --build-arg TORCH_INDEX=... -t cxrcausal .
FROM python:3.11-slim
ARG TORCH_INDEX
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)" \
 && python -m pip install --no-cache-dir -c constraints.txt '.[dicom,eval,fairness,shards]' \
 && useradd --create-home reader
USER reader
WORKDIR /work
ENTRYPOINT ["cxrcausal"]
CMD ["--help"]
