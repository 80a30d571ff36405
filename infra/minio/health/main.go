// Asks MinIO beside it whether it can serve; ends with 0 if so. For images that have no shell and no curl.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get("http://127.0.0.1:9000/minio/health/ready")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(answer.Status)
	if answer.StatusCode != http.StatusOK {
		os.Exit(1)
	}
}
