{{- define "ebpfguard.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "ebpfguard.labels" -}}
app.kubernetes.io/name: ebpfguard
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Of what is not the agent, and must not be taken for one. */ -}}
{{- define "ebpfguard.cleanupLabels" -}}
app.kubernetes.io/name: ebpfguard-cleanup
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ebpfguard.pullSecrets" -}}
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}

{{- /* The agent's configuration. What the chart says is not for values. */ -}}
{{- define "ebpfguard.config" -}}
{{- $fixed := dict "kubernetes" true "pins" (printf "%s/ebpfguard" .Values.hostPaths.bpf) "state" .Values.hostPaths.state "policies" "" -}}
{{- if .Values.policyReports.enabled }}{{ $_ := set $fixed "policy_reports" true }}{{ end -}}
{{- toYaml (merge $fixed .Values.config) }}
{{- end }}

{{- define "ebpfguard.cleanupHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "ebpfguard.cleanupContainer" -}}
image: {{ include "ebpfguard.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{- toYaml .args | nindent 0 }}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 128Mi}
securityContext:
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: [BPF]
volumeMounts:
- name: bpf
  mountPath: {{ .root.Values.hostPaths.bpf }}
- name: state
  mountPath: {{ dir .root.Values.hostPaths.state }}
{{- end }}
