# Berth for those who have Docker; docker-compose.yml says how it is run. The result
# needs no base: it is Berth, the programs it stands on, static but for mkfs.ext4, which
# brings its libraries, and the certificates to pull images with.
#
# Where no registry answers, both images can be ones made locally:
# --build-arg GO_IMAGE=... needs a Debian with Go, BASE_IMAGE can be anything.
ARG GO_IMAGE=golang:1.26-bookworm
ARG BASE_IMAGE=scratch

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY deps deps
RUN deps/build bin/libexec
COPY . .
RUN make build && \
    mkdir -p /image/opt/berth /image/etc/ssl/certs /image/run /image/var/lib/berth && \
    mkdir -m 1777 /image/tmp && \
    cp -r bin /image/opt/berth/ && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    cp --parents -L /usr/sbin/mkfs.ext4 $(ldd /usr/sbin/mkfs.ext4 | grep -o '/lib[^ ]*') /image/

FROM ${BASE_IMAGE}
COPY --from=build /image /
ENV PATH=/opt/berth/bin:/opt/berth/bin/libexec:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/berth
EXPOSE 8080
ENTRYPOINT ["berth"]
CMD ["server"]
