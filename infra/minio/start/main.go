// Starts MinIO, but never with its default password: a file of the root account that is missing or empty would
// otherwise be taken for "not set". MINIO_ROOT_USER and MINIO_ROOT_PASSWORD themselves are taken too.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func refuse(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "minio: "+format+"\n", values...)
	os.Exit(2)
}

func main() {
	for _, name := range []string{"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"} {
		if os.Getenv(name) != "" {
			continue
		}
		file := os.Getenv(name + "_FILE")
		if file == "" {
			refuse("neither %s nor %s_FILE is set: name a file that holds it", name, name)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			refuse("%s_FILE: %v; the service that makes the secrets writes this file", name, err)
		}
		if len(bytes.TrimSpace(content)) == 0 {
			refuse("%s_FILE: the file %s is empty; remove it and let the service that makes the secrets write it again", name, file)
		}
	}
	minio, err := exec.LookPath("minio")
	if err != nil {
		refuse("this image has no program named minio: %v; MINIO_IMAGE must name an image of MinIO", err)
	}
	if err := syscall.Exec(minio, append([]string{"minio"}, os.Args[1:]...), os.Environ()); err != nil {
		refuse("%s cannot be run: %v", minio, err)
	}
}
