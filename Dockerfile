# A static binary and the CA certificates, run by nobody in particular.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t aegis-proxy .
#
# There is no HEALTHCHECK: the image has no shell and no HTTP client. Probe
# from outside instead: /healthz says that the process lives, /readyz whether
# it would govern requests; both are on ports 8080 and 8081.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/aegis-proxy ./cmd/aegis-proxy \
 && mkdir /out/data && chmod 700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/aegis-proxy /usr/local/bin/aegis-proxy
# A volume mounted here for the first time belongs to the same user (65532).
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
ENV AEGIS_POLICY=/etc/aegis/policy.yaml \
    AEGIS_DATA=/data
VOLUME /data
EXPOSE 8080 8081
# The image has no shell. Where --admin-listen is another one, AEGIS_ADMIN says which.
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s CMD ["/usr/local/bin/aegis-proxy", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/aegis-proxy"]
CMD ["serve"]
