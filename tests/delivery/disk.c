/* A disk that ends the process between two calls, or answers no more: loaded before libc.

   Only what lies below the folder DISK_FOLDER counts. `arm(n)` lets the process die in place of its
   n-th change from then on; while the file DISK_HANGS exists, nothing is forced to disk. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long armed;

void arm(long n) { armed = n; }

static int is_ours(const char *path) {
  const char *folder = getenv("DISK_FOLDER");
  return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_ours_open(int fd) {
  char link[64], path[4096];
  int saved = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length < 0) return 0;
  path[length] = 0;
  return is_ours(path);
}

static void step(int ours) {
  if (ours && armed > 0 && --armed == 0) _exit(77);
}

static void wait_for_disk(int ours) {
  const char *hangs = getenv("DISK_HANGS");
  while (ours && hangs && access(hangs, F_OK) == 0) usleep(20000);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
  int ours = is_ours_open(fd);
  step(ours);
  wait_for_disk(ours);
  return NEXT(fsync)(fd);
}
int fdatasync(int fd) {
  int ours = is_ours_open(fd);
  step(ours);
  wait_for_disk(ours);
  return NEXT(fdatasync)(fd);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  step(is_ours_open(fd));
  return NEXT(pwrite64)(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  step(is_ours_open(fd));
  return NEXT(pwrite)(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) {
  step(is_ours_open(fd));
  return NEXT(write)(fd, data, size);
}
int ftruncate64(int fd, off64_t size) {
  step(is_ours_open(fd));
  return NEXT(ftruncate64)(fd, size);
}
int ftruncate(int fd, off_t size) {
  step(is_ours_open(fd));
  return NEXT(ftruncate)(fd, size);
}
int unlink(const char *path) {
  step(is_ours(path));
  return NEXT(unlink)(path);
}
int rename(const char *from, const char *to) {
  step(is_ours(from));
  return NEXT(rename)(from, to);
}
int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (flags & O_CREAT) step(is_ours(path));
  return NEXT(open64)(path, flags, mode);
}
int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (flags & O_CREAT) step(is_ours(path));
  return NEXT(open)(path, flags, mode);
}
