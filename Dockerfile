# The course without anything of the machine but a container engine; docs/teaching.md grades in it. The course's files
# belong to root, and submissions run as nobody in particular: they can change none of them.
FROM python:3.11-slim
WORKDIR /course
COPY . .
RUN python lab.py --version && mkdir -p build && chmod 1777 build
USER 1000:1000
ENV HOME=/tmp
ENTRYPOINT ["python", "-P", "lab.py"]
CMD ["--help"]
