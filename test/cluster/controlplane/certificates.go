package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// Files in the control plane's folder.
const (
	caCertificate            = "ca.crt"
	serverCertificate        = "server.crt"
	serverKey                = "server.key"
	kubeletClientCertificate = "kubelet-client.crt"
	kubeletClientKey         = "kubelet-client.key"
	accountKey               = "service-accounts.key"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// lifetime is longer than any test.
const lifetime = 7 * 24 * time.Hour

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "ebpfguard test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := complete(template); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

func complete(c *x509.Certificate) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	c.SerialNumber, c.NotBefore = serial, time.Now().Add(-time.Hour)
	c.NotAfter = c.NotBefore.Add(lifetime)
	return nil
}

// issue returns a certificate and its key.
func (a *authority) issue(c *x509.Certificate) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if err := complete(c); err != nil {
		return nil, nil, err
	}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := encodeKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), encoded, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// user returns the certificate of a user of the API server.
func (a *authority) user(name string, groups ...string) (certificate, key []byte, err error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server returns the certificate of a server with these names and addresses.
func (a *authority) server(name string, names ...string) (certificate, key []byte, err error) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if address := net.ParseIP(n); address != nil {
			c.IPAddresses = append(c.IPAddresses, address)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return a.issue(c)
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.Dir, name) }

// writeCertificates writes the files that the programs read.
func (c *ControlPlane) writeCertificates() error {
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	accounts, err := encodeKey(account)
	if err != nil {
		return err
	}
	server, key, err := c.authority.server("kube-apiserver", "127.0.0.1", "localhost", vmtest.Gateway, ServiceAddress,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	kubelet, kubeletKey, err := c.authority.user("kube-apiserver", "system:masters")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		caCertificate: c.authority.pem, serverCertificate: server, serverKey: key, accountKey: accounts,
		kubeletClientCertificate: kubelet, kubeletClientKey: kubeletKey,
	} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return fmt.Errorf("write the certificates: %w", err)
		}
	}
	return nil
}
