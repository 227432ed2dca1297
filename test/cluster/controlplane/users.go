package controlplane

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// administrators may do everything.
const administrators = "system:masters"

// Admin returns how to reach the API server as somebody who may do everything.
func (c *ControlPlane) Admin() *rest.Config { return c.User("admin", administrators) }

// User returns how to reach the API server as a user of these groups. Nothing is limited: tests ask a lot.
func (c *ControlPlane) User(name string, groups ...string) *rest.Config {
	certificate, key, err := c.authority.user(name, groups...)
	if err != nil {
		panic(err) // no randomness
	}
	return &rest.Config{
		Host: c.address("127.0.0.1"), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.pem, CertData: certificate, KeyData: key},
	}
}

// Bearer returns how to reach the API server with a token, as a pod does.
func (c *ControlPlane) Bearer(token string) *rest.Config {
	return &rest.Config{
		Host: c.address("127.0.0.1"), QPS: -1, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.pem},
	}
}

func (c *ControlPlane) address(host string) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(c.Port))
}

// Kubeconfig returns the path of a file by which kubectl and other programs reach the API server as that user.
func (c *ControlPlane) Kubeconfig(user string, groups ...string) (string, error) {
	return c.kubeconfig("127.0.0.1", user, groups...)
}

// GuestKubeconfig returns the same for a program in a guest with a network.
func (c *ControlPlane) GuestKubeconfig(user string, groups ...string) (string, error) {
	return c.kubeconfig(vmtest.Gateway, user, groups...)
}

func (c *ControlPlane) kubeconfig(host, user string, groups ...string) (string, error) {
	certificate, key, err := c.authority.user(user, groups...)
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: c.address(host), CertificateAuthorityData: c.authority.pem}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: user}
	config.CurrentContext = "test"
	raw, err := clientcmd.Write(*config)
	if err != nil {
		return "", err
	}
	path := c.file(fmt.Sprintf("%s@%s.kubeconfig", strings.NewReplacer(":", "-", "/", "-").Replace(user), host))
	return path, os.WriteFile(path, raw, 0o600)
}

// Kubectl returns kubectl, run by the administrator. Its home is the control plane's folder.
func (c *ControlPlane) Kubectl(arguments ...string) *exec.Cmd {
	return c.KubectlContext(context.Background(), arguments...)
}

// KubectlContext is Kubectl that ends with a context.
func (c *ControlPlane) KubectlContext(ctx context.Context, arguments ...string) *exec.Cmd {
	path, err := c.Kubeconfig("admin", administrators)
	cmd := exec.CommandContext(ctx, filepath.Join(c.Programs, "kubectl"), arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+path, "HOME="+c.Dir)
	if err != nil {
		cmd.Err = err
	}
	return cmd
}

// ServerCertificate writes a certificate for a server with these names and addresses, such as kubelet, and
// returns the paths of it and its key.
func (c *ControlPlane) ServerCertificate(name string, names ...string) (certificate, key string, err error) {
	cert, private, err := c.authority.server(name, names...)
	if err != nil {
		return "", "", err
	}
	certificate, key = c.file(name+".crt"), c.file(name+".key")
	if err := os.WriteFile(certificate, cert, 0o600); err != nil {
		return "", "", err
	}
	return certificate, key, os.WriteFile(key, private, 0o600)
}

// Authority returns the path of the certificate that signs all others.
func (c *ControlPlane) Authority() string { return c.file(caCertificate) }
