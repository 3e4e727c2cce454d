# The backend of every peer: nginx with one worker, 1 KiB a response, on each address of HOSTS (else HOST) and PORT.
set -eu
folder=$(mktemp -d)
mkdir "$folder/www"
head -c 1024 /dev/zero | tr '\0' x > "$folder/www/1k"
listen=
for host in ${HOSTS:-$HOST}; do listen="$listen listen $host:$PORT backlog=4096;"; done
cat > "$folder/nginx.conf" <<END
daemon off; master_process off; pid $folder/pid; error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path $folder/b; proxy_temp_path $folder/p; fastcgi_temp_path $folder/f; uwsgi_temp_path $folder/u; scgi_temp_path $folder/s;
  server {
    $listen
    location / { default_type text/plain; root $folder/www; try_files /1k =404; open_file_cache max=10; }
  }
}
END
PATH=$PATH:/usr/sbin:/usr/local/sbin
exec nginx -p "$folder" -e stderr -c "$folder/nginx.conf"
