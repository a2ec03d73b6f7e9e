# SPDX-License-Identifier: Apache-2.0
"""Those messages of the Container Runtime Interface, version 1, that the tests send or read.

One row for each field: its number, and what it is: int (also truth values and enumerations), str
(also bytes), map (of strings), a message, or * of one of them. What is not listed is skipped.
"""

TABLE = """
Nothing
VersionResponse              runtime_name 2 str, runtime_version 3 str, runtime_api_version 4 str
StatusRequest                verbose 1 int
StatusResponse               status 1 RuntimeStatus, info 2 map, runtime_handlers 3 *RuntimeHandler
RuntimeStatus                conditions 1 *RuntimeCondition
RuntimeCondition             type 1 str, status 2 int, reason 3 str, message 4 str
RuntimeHandler               name 1 str, features 2 HandlerFeatures
HandlerFeatures              recursive_read_only_mounts 1 int, user_namespaces 2 int
RuntimeConfigResponse        linux 1 LinuxRuntimeConfig
LinuxRuntimeConfig           cgroup_driver 1 int

Int                          value 1 int
IdMapping                    host_id 1 int, container_id 2 int, length 3 int
UserNamespace                mode 1 int, uids 2 *IdMapping, gids 3 *IdMapping
NamespaceOption              network 1 int, pid 2 int, ipc 3 int, target_id 4 str, userns_options 5 UserNamespace
SecurityProfile              profile_type 1 int, localhost_ref 2 str
PortMapping                  protocol 1 int, container_port 2 int, host_port 3 int, host_ip 4 str
DnsConfig                    servers 1 *str, searches 2 *str, options 3 *str

PodMetadata                  name 1 str, uid 2 str, namespace 3 str, attempt 4 int
PodSecurity                  namespace_options 1 NamespaceOption, run_as_user 3 Int, readonly_rootfs 4 int,
                             supplemental_groups 5 *int, privileged 6 int, run_as_group 8 Int, seccomp 9 SecurityProfile
PodLinux                     cgroup_parent 1 str, security_context 2 PodSecurity, sysctls 3 map
PodConfig                    metadata 1 PodMetadata, hostname 2 str, log_directory 3 str, dns_config 4 DnsConfig,
                             port_mappings 5 *PortMapping, labels 6 map, annotations 7 map, linux 8 PodLinux
RunPod                       config 1 PodConfig, runtime_handler 2 str
PodId                        pod_sandbox_id 1 str
PodStatusRequest             pod_sandbox_id 1 str, verbose 2 int
PodIp                        ip 1 str
PodNetwork                   ip 1 str, additional_ips 2 *PodIp
PodStatus                    id 1 str, metadata 2 PodMetadata, state 3 int, created_at 4 int, network 5 PodNetwork,
                             labels 7 map, annotations 8 map, runtime_handler 9 str
PodStatusResponse            status 1 PodStatus, info 2 map
Pod                          id 1 str, metadata 2 PodMetadata, state 3 int, labels 5 map, runtime_handler 7 str
Pods                         items 1 *Pod

ImageSpec                    image 1 str
Image                        id 1 str, repo_tags 2 *str, size 4 int, pinned 8 int
ImageRequest                 image 1 ImageSpec
ImageResponse                image 1 Image
Images                       images 1 *Image
FsId                         mountpoint 1 str
FsUsage                      timestamp 1 int, fs_id 2 FsId, used_bytes 3 Int, inodes_used 4 Int
ImageFsInfo                  image_filesystems 1 *FsUsage

KeyValue                     key 1 str, value 2 str
Mount                        container_path 1 str, host_path 2 str, readonly 3 int, propagation 5 int,
                             uidMappings 6 *IdMapping, gidMappings 7 *IdMapping, recursive_read_only 8 int
Device                       container_path 1 str, host_path 2 str, permissions 3 str
Resources                    cpu_period 1 int, cpu_quota 2 int, cpu_shares 3 int, memory_limit_in_bytes 4 int,
                             oom_score_adj 5 int, cpuset_cpus 6 str, cpuset_mems 7 str, unified 9 map,
                             memory_swap_limit_in_bytes 10 int
Capability                   add_capabilities 1 *str, drop_capabilities 2 *str, add_ambient_capabilities 3 *str
Security                     capabilities 1 Capability, privileged 2 int, namespace_options 3 NamespaceOption,
                             run_as_user 5 Int, run_as_username 6 str, readonly_rootfs 7 int,
                             supplemental_groups 8 *int, no_new_privs 11 int, run_as_group 12 Int, masked_paths 13 *str,
                             readonly_paths 14 *str, seccomp 15 SecurityProfile, apparmor 16 SecurityProfile
ContainerLinux               resources 1 Resources, security_context 2 Security
ContainerMetadata            name 1 str, attempt 2 int
ContainerConfig              metadata 1 ContainerMetadata, image 2 ImageSpec, command 3 *str, args 4 *str,
                             working_dir 5 str, envs 6 *KeyValue, mounts 7 *Mount, devices 8 *Device, labels 9 map,
                             annotations 10 map, log_path 11 str, stdin 12 int, stdin_once 13 int, tty 14 int,
                             linux 15 ContainerLinux
CreateContainer              pod_sandbox_id 1 str, config 2 ContainerConfig, sandbox_config 3 PodConfig
ContainerId                  container_id 1 str
StopContainer                container_id 1 str, timeout 2 int
ContainerStatusRequest       container_id 1 str, verbose 2 int
ResourcesStatus              linux 1 Resources
ContainerStatus              id 1 str, metadata 2 ContainerMetadata, state 3 int, created_at 4 int, started_at 5 int,
                             finished_at 6 int, exit_code 7 int, image 8 ImageSpec, image_ref 9 str, reason 10 str,
                             message 11 str, labels 12 map, log_path 15 str, resources 16 ResourcesStatus
ContainerStatusResponse      status 1 ContainerStatus, info 2 map
Container                    id 1 str, pod_sandbox_id 2 str, metadata 3 ContainerMetadata, state 6 int
ContainerFilter              id 1 str, pod_sandbox_id 3 str
ListContainers               filter 1 ContainerFilter
Containers                   containers 1 *Container
UpdateResources              container_id 1 str, linux 2 Resources
Checkpoint                   container_id 1 str, location 2 str, timeout 3 int

ExecSync                     container_id 1 str, cmd 2 *str, timeout 3 int
ExecSyncResponse             stdout 1 str, stderr 2 str, exit_code 3 int
Exec                         container_id 1 str, cmd 2 *str, tty 3 int, stdin 4 int, stdout 5 int, stderr 6 int
Attach                       container_id 1 str, stdin 2 int, tty 3 int, stdout 4 int, stderr 5 int
PortForward                  pod_sandbox_id 1 str, port 2 *int
Url                          url 1 str

CpuUsage                     timestamp 1 int, usage_core_nano_seconds 2 Int, usage_nano_cores 3 Int
MemoryUsage                  timestamp 1 int, working_set_bytes 2 Int, available_bytes 3 Int, usage_bytes 4 Int,
                             rss_bytes 5 Int
StatsAttributes              id 1 str, metadata 2 ContainerMetadata
ContainerStats               attributes 1 StatsAttributes, cpu 2 CpuUsage, memory 3 MemoryUsage, writable_layer 4 FsUsage
ContainerStatsResponse       stats 1 ContainerStats
StatsFilter                  id 1 str, pod_sandbox_id 2 str
ListStats                    filter 1 StatsFilter
StatsList                    stats 1 *ContainerStats
Interface                    name 1 str, rx_bytes 2 Int, tx_bytes 4 Int
NetworkUsage                 timestamp 1 int, default_interface 2 Interface
ProcessUsage                 timestamp 1 int, process_count 2 Int
PodStatsLinux                cpu 1 CpuUsage, memory 2 MemoryUsage, network 3 NetworkUsage, process 4 ProcessUsage,
                             containers 5 *ContainerStats
PodAttributes                id 1 str, metadata 2 PodMetadata
PodStats                     attributes 1 PodAttributes, linux 2 PodStatsLinux
PodStatsResponse             stats 1 PodStats
Metric                       name 1 str, timestamp 2 int, metric_type 3 int, label_values 4 *str, value 5 Int
ContainerMetrics             container_id 1 str, metrics 2 *Metric
PodMetrics                   pod_sandbox_id 1 str, metrics 2 *Metric, container_metrics 3 *ContainerMetrics
PodMetricsList               pod_metrics 1 *PodMetrics
"""

# Each method, with what it asks and what it answers.
METHODS = {
    "Version": ("Nothing", "VersionResponse"),
    "Status": ("StatusRequest", "StatusResponse"),
    "RuntimeConfig": ("Nothing", "RuntimeConfigResponse"),
    "RunPodSandbox": ("RunPod", "PodId"),
    "StopPodSandbox": ("PodId", "Nothing"),
    "RemovePodSandbox": ("PodId", "Nothing"),
    "PodSandboxStatus": ("PodStatusRequest", "PodStatusResponse"),
    "ListPodSandbox": ("Nothing", "Pods"),
    "CreateContainer": ("CreateContainer", "ContainerId"),
    "StartContainer": ("ContainerId", "Nothing"),
    "StopContainer": ("StopContainer", "Nothing"),
    "RemoveContainer": ("ContainerId", "Nothing"),
    "ContainerStatus": ("ContainerStatusRequest", "ContainerStatusResponse"),
    "ListContainers": ("ListContainers", "Containers"),
    "UpdateContainerResources": ("UpdateResources", "Nothing"),
    "ReopenContainerLog": ("ContainerId", "Nothing"),
    "CheckpointContainer": ("Checkpoint", "Nothing"),
    "ExecSync": ("ExecSync", "ExecSyncResponse"),
    "Exec": ("Exec", "Url"),
    "Attach": ("Attach", "Url"),
    "PortForward": ("PortForward", "Url"),
    "ContainerStats": ("ContainerId", "ContainerStatsResponse"),
    "ListContainerStats": ("ListStats", "StatsList"),
    "PodSandboxStats": ("PodId", "PodStatsResponse"),
    "ListPodSandboxMetrics": ("Nothing", "PodMetricsList"),
    "ListImages": ("Nothing", "Images"),
    "ImageStatus": ("ImageRequest", "ImageResponse"),
    "ImageFsInfo": ("Nothing", "ImageFsInfo"),
    "RemoveImage": ("ImageRequest", "Nothing"),
}
IMAGE_METHODS = {"ListImages", "ImageStatus", "ImageFsInfo", "RemoveImage"}


def read(table):
    """{message: {field: (number, kind)}}; a line that begins with a blank goes on with the message above."""
    messages, name = {}, None
    for line in table.splitlines():
        if not line.strip():
            continue
        row = line.strip()
        if line[0] != " ":
            name, _, row = row.partition(" ")
            messages[name] = {}
        for field in filter(None, (f.strip() for f in row.split(","))):
            key, number, kind = field.split()
            messages[name][key] = (int(number), kind)
    return messages


MESSAGES = read(TABLE)
