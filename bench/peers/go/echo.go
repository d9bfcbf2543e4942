// Go's net package, a goroutine a connection. Usage: echo PORT [echo|broadcast]
package main

import (
	"log"
	"net"
	"os"
	"sync"
)

var (
	guard   sync.Mutex
	members = map[net.Conn]struct{}{}
)

// echo sends back what comes. The buffer is small, so that an idle connection is not charged more
// than its messages need.
func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 2048)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}

// broadcast sends what comes to all connections.
func broadcast(connection net.Conn) {
	guard.Lock()
	members[connection] = struct{}{}
	guard.Unlock()
	defer func() {
		guard.Lock()
		delete(members, connection)
		guard.Unlock()
		connection.Close()
	}()
	buffer := make([]byte, 2048)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		guard.Lock()
		for member := range members {
			member.Write(buffer[:count])
		}
		guard.Unlock()
	}
}

func main() {
	handle := echo
	if len(os.Args) > 2 && os.Args[2] == "broadcast" {
		handle = broadcast
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go handle(connection)
	}
}
