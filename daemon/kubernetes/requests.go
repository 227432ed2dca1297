package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// requestTime is how long the API server may take for an answer.
const requestTime = 10 * time.Second

// Paths of the API server.
var guardPath = "/apis/" + v1alpha1.GroupVersion.String()

func nodeStatusPath(node string) string { return guardPath + "/nodestatuses/" + node }

func policyPath(namespace, name string) string {
	return guardPath + "/namespaces/" + namespace + "/policies/" + name
}

func clusterPolicyPath(name string) string { return guardPath + "/clusterpolicies/" + name }

// get reads an object.
func (c clients) get(ctx context.Context, path string, into any) error {
	return answer(ctx, c.core.Get().AbsPath(path), into)
}

// create makes an object below a path.
func (c clients) create(ctx context.Context, path string, object, into any) error {
	return send(ctx, c.core.Post().AbsPath(path).SetHeader("Content-Type", runtime.ContentTypeJSON), object, into)
}

// update replaces an object, unless somebody did so since it was read.
func (c clients) update(ctx context.Context, path string, object, into any) error {
	return send(ctx, c.core.Put().AbsPath(path).SetHeader("Content-Type", runtime.ContentTypeJSON), object, into)
}

// merge changes fields of an object.
func (c clients) merge(ctx context.Context, path string, fields, into any) error {
	return send(ctx, c.core.Patch(types.MergePatchType).AbsPath(path), fields, into)
}

// apply makes fields of an object what they are here, by server-side apply: those that the manager applied before and
// that are not here any more are removed, those of others stay.
func (c clients) apply(ctx context.Context, path, manager string, object, into any) error {
	r := c.core.Patch(types.ApplyPatchType).AbsPath(path).Param("fieldManager", manager).Param("force", "true")
	return send(ctx, r, object, into)
}

// remove deletes an object; one that is not there is fine.
func (c clients) remove(ctx context.Context, path string) error {
	if err := answer(ctx, c.core.Delete().AbsPath(path), nil); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func send(ctx context.Context, r *rest.Request, object, into any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return answer(ctx, r.Body(body), into)
}

// answer sends a request and reads the answer, unless nobody wants it.
func answer(ctx context.Context, r *rest.Request, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	result := r.Do(ctx)
	if err := result.Error(); err != nil {
		return err
	}
	data, err := result.Raw()
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the API server's answer: %w", err)
	}
	return nil
}

// applied is an object as server-side apply takes it: with those fields only that are meant.
type applied struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        appliedMeta `json:"metadata"`
	Status          any         `json:"status,omitempty"`
}

type appliedMeta struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// UID, if set, is that of the object that is meant: another one of its name is not changed.
	UID             types.UID               `json:"uid,omitempty"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
}

// ofKind is the type of an object of ours.
func ofKind(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
}
