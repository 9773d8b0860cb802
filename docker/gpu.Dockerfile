# mien on an NVIDIA GPU: docker build -t mien-gpu -f docker/gpu.Dockerfile . && docker run --rm --gpus all mien-gpu --version
# The base image brings torch with CUDA; constraints.txt pins the CPU build, so only the other versions are taken from it.
FROM pytorch/pytorch:2.9.0-cuda12.8-cudnn9-runtime
WORKDIR /opt/mien
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN grep -vE '^(torch|torchvision|torchaudio|numpy|#)' constraints.txt > pins.txt \
 && pip install --no-cache-dir -c pins.txt '.[web,table]'
RUN useradd --create-home mien && mkdir /runs && chown mien /runs
USER mien
WORKDIR /runs
ENTRYPOINT ["mien"]
CMD ["--help"]
