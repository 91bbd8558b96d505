/* A disk that remembers. A FUSE file system with one file, "disk.img": every write to it, and every flush, is also
 * appended to a log with its CLOCK_MONOTONIC time, so that what the disk held at any instant can be rebuilt. A loop
 * device on that file turns the block layer's FLUSH into an fsync of it.
 *
 *     recorder MOUNTPOINT IMAGE LOG
 *
 * A log entry is four little-endian 64-bit numbers (nanoseconds; 1 for a write, 2 for a flush; offset; length) and,
 * for a write, its bytes. Single-threaded, so the order in the log is the order on the disk.
 * Build: gcc -O2 -o recorder recorder.c $(pkg-config --cflags --libs fuse3)
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int image, journal;
static off_t image_size;

static void append(const void *bytes, size_t length) {
    const char *from = bytes;
    while (length > 0) {
        ssize_t written = write(journal, from, length);
        if (written < 0) abort();
        from += written;
        length -= (size_t)written;
    }
}

static void record(uint64_t kind, uint64_t offset, const char *bytes, uint64_t length) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t head[4] = {(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, kind, offset, length};
    append(head, sizeof head);
    append(bytes, length);
}

static int disk_getattr(const char *path, struct stat *found, struct fuse_file_info *file) {
    (void)file;
    memset(found, 0, sizeof *found);
    found->st_nlink = 1;
    if (strcmp(path, "/") == 0) {
        found->st_mode = S_IFDIR | 0755;
        return 0;
    }
    if (strcmp(path, "/disk.img") != 0) return -ENOENT;
    found->st_mode = S_IFREG | 0600;
    found->st_size = image_size;
    return 0;
}

static int disk_readdir(const char *path, void *list, fuse_fill_dir_t fill, off_t offset,
                        struct fuse_file_info *file, enum fuse_readdir_flags flags) {
    (void)path, (void)offset, (void)file, (void)flags;
    fill(list, ".", NULL, 0, 0);
    fill(list, "..", NULL, 0, 0);
    fill(list, "disk.img", NULL, 0, 0);
    return 0;
}

static int disk_open(const char *path, struct fuse_file_info *file) {
    (void)path;
    file->keep_cache = 1;
    return 0;
}

static int disk_read(const char *path, char *bytes, size_t length, off_t offset, struct fuse_file_info *file) {
    (void)path, (void)file;
    ssize_t got = pread(image, bytes, length, offset);
    return got < 0 ? -errno : (int)got;
}

static int disk_write(const char *path, const char *bytes, size_t length, off_t offset, struct fuse_file_info *file) {
    (void)path, (void)file;
    ssize_t written = pwrite(image, bytes, length, offset);
    if (written < 0) return -errno;
    record(1, (uint64_t)offset, bytes, (uint64_t)written);
    return (int)written;
}

static int disk_fsync(const char *path, int data_only, struct fuse_file_info *file) {
    (void)path, (void)data_only, (void)file;
    record(2, 0, NULL, 0);
    return 0;
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr,
    .readdir = disk_readdir,
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .fsync = disk_fsync,
};

int main(int count, char **words) {
    if (count != 4) return 2;
    image = open(words[2], O_RDWR);
    journal = open(words[3], O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    if (image < 0 || journal < 0) return 1;
    image_size = lseek(image, 0, SEEK_END);
    char *fuse_words[] = {words[0], words[1], "-s", "-f", "-o", "allow_other", NULL};
    return fuse_main(6, fuse_words, &operations, NULL);
}
