# SPDX-License-Identifier: Apache-2.0
# Swarm on one node: a service of five, scaled, updated, mended. Sourced by ../docker.sh.

# running SERVICE: the names of its running tasks' containers
running() { docker ps -q --no-trunc --filter "label=com.docker.swarm.service.name=$1" --filter status=running; }
count() { [ "$(running "$1" | wc -l)" = "$2" ]; }
# all_say SERVICE N TEXT: N containers run, and the log of each has the text
all_say() {
  local c
  count "$1" "$2" || return 1
  for c in $(running "$1"); do says "$c" "$3" || return 1; done
}
tagged() { # TAG: a build of the image whose program says which it is
  printf 'FROM %s\nCMD ["sh", "-c", "echo version %s; trap \\"exit 0\\" TERM; while :; do sleep 0.1; done"]\n' "$IMAGE" "$1" |
    DOCKER_BUILDKIT=0 docker build -q -t "e2e/service:$1" - >/dev/null
}

t_swarm_init() {
  tagged 1 && tagged 2 && printf 'FROM e2e/service:1\nCMD ["/no/such/program"]\n' |
    DOCKER_BUILDKIT=0 docker build -q -t e2e/service:broken - >/dev/null || return 1
  docker swarm init --advertise-addr 127.0.0.1 >/dev/null || return 1
  same "active true" "$(docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}')"
  has "$(docker node ls --format '{{.Status}} {{.ManagerStatus}}')" "Ready Leader"
}
t_service_create() {
  echo -n secret | docker secret create e2e-secret - >/dev/null && echo -n config | docker config create e2e-config - >/dev/null || return 1
  docker service create -q -d --name svc --replicas 5 --no-resolve-image --limit-memory 64m --limit-cpu 0.5 --limit-pids 33 \
    --secret e2e-secret --config src=e2e-config,target=/etc/conf --env SLOT='{{.Task.Slot}}' --hostname 'task-{{.Task.Slot}}' \
    --mount type=tmpfs,dst=/scratch --restart-delay 200ms --stop-grace-period 5s \
    --update-delay 0s --update-parallelism 2 e2e/service:1 >/dev/null || return 1
  wait_for 60 all_say svc 5 "version 1"
  has "$(docker service ls --format '{{.Name}} {{.Replicas}}')" "svc 5/5"
  same creel "$(docker inspect --format '{{.HostConfig.Runtime}}' $(running svc) | sort -u)" "runtime of the tasks"
}
t_service_task() {
  local c slots; c=$(running svc | head -n 1)
  same "secret config" "$(docker exec "$c" sh -c 'echo $(cat /run/secrets/e2e-secret) $(cat /etc/conf)')" "secret and configuration"
  controllers memory pids cpu
  same 67108864 "$(cgroup_file "$c" memory/memory.limit_in_bytes memory.max)" memory
  same 33 "$(cgroup_file "$c" pids/pids.max pids.max)" processes
  same 50000 "$(cgroup_file "$c" cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" "cpu quota"
  slots=$(for c in $(running svc); do docker exec "$c" sh -c 'echo $SLOT-$(hostname)'; done | sort | xargs)
  same "1-task-1 2-task-2 3-task-3 4-task-4 5-task-5" "$slots" "the five"
  same 5 "$(docker service logs --raw svc 2>/dev/null | grep -c 'version 1')" "lines in the service's log"
}
t_service_scale() {
  docker service scale -d svc=8 >/dev/null && wait_for 60 all_say svc 8 "version 1" &&
    docker service scale -d svc=2 >/dev/null && wait_for 60 count svc 2 && docker service scale -d svc=5 >/dev/null && wait_for 60 all_say svc 5 "version 1"
}
t_service_heals() {
  local c p; c=$(running svc | head -n 1); p=$(pid "$c")
  kill -KILL "$p"
  wait_for 60 eval "all_say svc 5 'version 1' && ! running svc | grep -q $c"
}
updated() { [ "$(docker service inspect --format '{{.UpdateStatus.State}}' "$1")" = "$2" ]; }
t_service_update() {
  docker service update -q -d --no-resolve-image --image e2e/service:2 svc >/dev/null || return 1
  wait_for 60 updated svc completed && wait_for 30 all_say svc 5 "version 2" || return 1
  docker service update -q -d --rollback svc >/dev/null || return 1
  wait_for 60 updated svc rollback_completed && wait_for 30 all_say svc 5 "version 1"
}
t_service_limits() {
  controllers memory
  docker service update -q -d --limit-memory 96m --update-order start-first svc >/dev/null || return 1
  wait_for 60 updated svc completed && wait_for 30 count svc 5 || return 1
  local c; for c in $(running svc); do same 100663296 "$(cgroup_file "$c" memory/memory.limit_in_bytes memory.max)" memory; done
}
t_service_broken() {
  docker service update -q -d --no-resolve-image --image e2e/service:broken --update-failure-action rollback --update-order stop-first \
    --update-monitor 2s --update-parallelism 1 --restart-max-attempts 1 svc >/dev/null || return 1
  wait_for 90 updated svc rollback_completed && wait_for 60 all_say svc 5 "version 1" || return 1
  has "$(docker service ps --no-trunc --format '{{.Error}}' svc)" "no such file or directory"
}
t_service_network() {
  docker network create -d overlay --attachable over >/dev/null || return 1
  docker service create -q -d --name web --replicas 3 --no-resolve-image --network over --endpoint-mode dnsrr --restart-delay 200ms \
    "$IMAGE" sh -c 'mkdir /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w' >/dev/null || return 1
  wait_for 60 count web 3
  local names; names=$(run --network over -- sh -c 'for a in $(nslookup tasks.web 127.0.0.11 2>/dev/null | awk "/^Address: 10/ { print \$2 }" | sort -u); do
    printf "GET / HTTP/1.0\r\n\r\n" | nc -w 3 $a 80 | tail -n 1; done | sort -u | wc -l')
  same 3 "$names" "tasks that answered through the overlay"
  docker service rm web >/dev/null && wait_for 30 count web 0 || return 1
  wait_for 30 docker network rm over
}
t_service_port() {
  docker service create -q -d --name pub --no-resolve-image --publish mode=host,target=80,published=18081 \
    --health-cmd 'test -e /w/index.html' --health-interval 500ms \
    "$IMAGE" sh -c 'mkdir /w; echo published >/w/index.html; exec httpd -f -p 80 -h /w' >/dev/null || return 1
  wait_for 60 http 127.0.0.1 18081 /
  same published "$(http 127.0.0.1 18081 /)"
  wait_for 30 eval '[ "$(field "$(running pub)" State.Health.Status)" = healthy ]'
  docker service rm pub >/dev/null
}
t_service_job() {
  docker service create -q -d --name global --mode global --no-resolve-image e2e/service:1 >/dev/null && wait_for 30 count global 1 || return 1
  docker service rm global >/dev/null
  docker service create -q -d --name job --mode replicated-job --replicas 3 --no-resolve-image --restart-condition none "$IMAGE" sh -c 'exit 0' >/dev/null || return 1
  wait_for 60 eval '[ "$(docker service ps --format "{{.CurrentState}}" job | grep -c Complete)" = 3 ]'
  docker service rm job >/dev/null
}
t_swarm_restart() {
  stop_docker && start_docker || return 1
  wait_for 90 all_say svc 5 "version 1"
}
t_swarm_leave() {
  docker service rm svc >/dev/null && docker secret rm e2e-secret >/dev/null && docker config rm e2e-config >/dev/null || return 1
  wait_for 60 count svc 0
  docker swarm leave --force >/dev/null && same inactive "$(docker info --format '{{.Swarm.LocalNodeState}}')"
  # What Swarm kept for its history.
  docker container prune -f >/dev/null && docker network rm docker_gwbridge >/dev/null
}

tests <<'LIST'
t_swarm_init swarm init
t_service_create swarm: a service of five
t_service_task swarm: limits, secrets, configurations, logs of the tasks
t_service_scale swarm: scaled up and down
t_service_heals swarm: a task that dies is replaced
t_service_update swarm: rolled forward and back
t_service_limits swarm: an update of the limits
t_service_broken swarm: an update that cannot run is rolled back
t_service_network swarm: an overlay network
t_service_port swarm: a published port, a health check
t_service_job swarm: global services, jobs
t_swarm_restart swarm: the daemon ends and begins again
t_swarm_leave swarm leave
LIST
