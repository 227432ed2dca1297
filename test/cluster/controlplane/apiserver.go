package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// ServiceNetwork has the addresses of services, the API server's first.
const (
	ServiceNetwork = "10.96.0.0/16"
	ServiceAddress = "10.96.0.1"
)

// StartAPIServer starts the API server, at the beginning or after StopAPIServer, and waits until it is ready.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	if c.api != nil {
		return errors.New("start the API server: it runs; stop it first")
	}
	arguments := []string{
		"--etcd-servers=" + c.etcd, "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.Port),
		// Nothing reaches it by the address that it tells the cluster, which must be none of the loopback.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=" + ServiceNetwork,
		"--tls-cert-file=" + c.file(serverCertificate), "--tls-private-key-file=" + c.file(serverKey), "--client-ca-file=" + c.file(caCertificate),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.file(accountKey),
		"--service-account-signing-key-file=" + c.file(accountKey),
		"--kubelet-client-certificate=" + c.file(kubeletClientCertificate), "--kubelet-client-key=" + c.file(kubeletClientKey),
		"--kubelet-certificate-authority=" + c.file(caCertificate),
		// By its own name it would have to be found by this machine.
		"--kubelet-preferred-address-types=InternalIP", "--egress-selector-config-file=" + c.file(egressFile),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		// It waits for what stops for a minute otherwise.
		"--shutdown-delay-duration=0s",
	}
	if !c.options.Controllers {
		// Nobody makes the service account that each pod has.
		arguments = append(arguments, "--disable-admission-plugins=ServiceAccount")
	}
	p, err := startProcess(c.Dir, "kube-apiserver", filepath.Join(c.Programs, "kube-apiserver"), append(arguments, c.options.APIServer...)...)
	if err != nil {
		return err
	}
	c.api = p
	return c.awaitAPIServer(ctx, p)
}

func (c *ControlPlane) awaitAPIServer(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	config := c.Admin()
	config.Timeout = 10 * time.Second
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		response, err := client.Get(config.Host + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == 200 {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("kube-apiserver ended:\n%s", p.tail())
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready: %w, %w; its log ends with\n%s", err, context.Cause(ctx), p.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
